//! API-Bank (Li et al. 2023): its tools with their state, and its evaluators, over a copy of its data.
//!
//! A [`library`] reads the data; a [`world`] is what calls change, and [`tools`] what they do; [`parse`] finds a call in a reply
//! as the original does. [`value`] and [`text`] are what the tools need of the original's language.
//!
//! # Invariants
//! Specifications, databases and recorded answers are read from the copy that a user brings: nothing of the data is in here.
//! A world is a function of the data and the calls made in it. No reply and no arguments make anything panic or hang.

pub mod declared;
pub mod dialogues;
pub mod episode;
pub mod figures;
pub mod library;
pub mod literal;
pub mod member;
pub mod parse;
pub mod rouge;
pub mod rows;
pub mod score;
pub mod session;
pub mod text;
pub mod tools;
pub mod training;
pub mod value;
pub mod world;

#[cfg(test)]
mod tests;

pub use declared::{Declared, Mode, Tasks};
pub use library::{Library, Unreadable};
pub use member::ApiBank;
pub use world::{Level, Network, World};
