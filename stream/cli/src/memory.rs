//! The settings of the C library's allocator.
//!
//! glibc gives a program eight arenas for each core. Threads that allocate in one and free in another, as the workers of a
//! job do with each other's entries, leave holes in all of them. It also raises the size from which a block is a mapping
//! of its own to 32 MiB, so that the tables of a closed pane leave holes, too. With one arena for each core and mappings from
//! 1 MiB on, the job of `bench throughput` held about a quarter less memory than with mappings from 4 MiB on. With mappings from
//! 512 KiB on it held a tenth less again, but took clearly more CPU time: each mapping is filled with zeros when it is touched.
//! Both figures are from two runs of each setting on a busy machine.

/// The size from which a block is a mapping of its own, which returns to the system as soon as it is free.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM_BYTES: libc::c_int = 1 << 20;

/// Bounds the allocator's arenas. Does nothing except on Linux with glibc. Overrides environment variables such as
/// `MALLOC_ARENA_MAX`.
pub fn bound_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX);

        // SAFETY: `mallopt` takes two numbers and may be called at any time.
        let is_set = unsafe {
            libc::mallopt(libc::M_ARENA_MAX, cores) == 1
                && libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES) == 1
        };
        debug_assert!(is_set, "glibc takes both values");
    }
}
