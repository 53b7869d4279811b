//! The `meshboard` program.

fn main() {}
