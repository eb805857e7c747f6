//! Tests that choose the instruction set and the parts.
