//! The built binary, as a person meets it: it starts, serves, explains what it cannot do, and stops.

mod platform;
mod refusals;
mod running;
