//! The one integration binary: rules of the house, the program from outside, reports, the book.

mod report;
mod tidy;
