# syntax=docker/dockerfile:1
# One image for every service, the stream job and the migrations: the arguments of `platform` select one.
#   docker buildx build --platform linux/amd64,linux/arm64 --tag tidemark .

# This image has the tools of the build: gcc, g++, make and perl.
FROM rust:1.95-bookworm AS build
ARG TARGETARCH
# Uses the image's toolchain instead of the one in rust-toolchain.toml.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-$TARGETARCH \
    cargo build --release --locked --package platform --features tls \
    && cp target/release/platform /platform

# This image has glibc, libgcc and the certificates of public authorities, and no shell. The program runs as user 65532 and writes
# only to the configured folders.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /platform /usr/local/bin/platform
# The program does not contain the list of its packages. The release workflow reads it here.
COPY --from=build /src/Cargo.lock /usr/share/doc/tidemark/Cargo.lock
# The address is public, so the program starts only with TIDEMARK_AUTH=enforced, or with TIDEMARK_ALLOW_OPEN=true.
ENV TIDEMARK_HOST=0.0.0.0
EXPOSE 5000-5007
ENTRYPOINT ["/usr/local/bin/platform"]
