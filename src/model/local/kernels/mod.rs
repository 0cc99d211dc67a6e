//! Turns slices of f32 into slices of f32.
