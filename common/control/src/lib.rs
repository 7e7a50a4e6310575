//! The control plane: who is in the run, who leads, where things are.
