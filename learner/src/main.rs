//! `learner`: trains, evaluates, imports.

fn main() {}
