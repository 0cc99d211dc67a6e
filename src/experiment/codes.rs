//! (codes)
