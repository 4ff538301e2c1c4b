//! The engine against an oracle: whatever is read in whatever order by however many workers, and whatever dies
//! meanwhile, what was committed is what sorting, grouping and folding the records gives.

mod crashes;
mod oracle;
mod windows;
