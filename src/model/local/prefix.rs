//! Keeps the keys and values of sequences that were computed, by their tokens.
//!
//! # Invariants
//! What is kept changes how long a reply takes, never what it is.

use crate::model::TokenId;
use std::collections::BTreeMap;
use std::ops::Bound;

/// How many first tokens two sequences share.
pub fn shared(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

pub struct PrefixStore<C> {
    /// In lexicographic order, where the longest shared prefix is always a neighbour's.
    entries: BTreeMap<Vec<TokenId>, Entry<C>>,
    /// What all entries share of one another counted once, as their caches hold it.
    rows: usize,
    most_rows: usize,
    clock: u64,
}

struct Entry<C> {
    cache: C,
    /// When it was last asked for, in requests.
    used: u64,
}

impl<C: Clone> PrefixStore<C> {
    pub fn new(most_rows: usize) -> Self {
        Self { entries: BTreeMap::new(), rows: 0, most_rows, clock: 0 }
    }

    fn nearest(&self, tokens: &[TokenId]) -> Option<(usize, &Vec<TokenId>)> {
        let before = self.entries.range::<[TokenId], _>((Bound::Unbounded, Bound::Included(tokens))).next_back();
        let after = self.entries.range::<[TokenId], _>((Bound::Excluded(tokens), Bound::Unbounded)).next();
        before.into_iter().chain(after).map(|(kept, _)| (shared(kept, tokens), kept)).max_by_key(|(length, _)| *length)
    }

    /// The most first tokens of `tokens` that one entry holds.
    pub fn longest(&self, tokens: &[TokenId]) -> usize {
        self.nearest(tokens).map_or(0, |(length, _)| length)
    }

    /// The cache of the entry that shares most; it may hold that entry's other tokens too. Its blocks are shared, but for an
    /// entry that is all a beginning of `tokens`: whoever goes on from it gets it, and copies nothing.
    pub fn fetch(&mut self, tokens: &[TokenId]) -> Option<C> {
        let (length, key) = self.nearest(tokens)?;
        let key = key.clone();
        if length == key.len() {
            return self.remove(&key);
        }
        self.clock += 1;
        let entry = self.entries.get_mut(&key).expect("invariant: the key was just found");
        entry.used = self.clock;
        Some(entry.cache.clone())
    }

    /// Keeps a sequence; entries that are its beginnings go, and the longest unused ones when there is no room.
    pub fn insert(&mut self, tokens: Vec<TokenId>, cache: C) {
        if tokens.len() > self.most_rows || self.longest(&tokens) == tokens.len() {
            return;
        }
        while let Some((length, key)) = self.nearest(&tokens)
            && length == key.len()
        {
            let key = key.clone();
            self.remove(&key);
        }
        self.clock += 1;
        self.rows += self.own(&tokens);
        self.entries.insert(tokens, Entry { cache, used: self.clock });
        while self.rows > self.most_rows {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            self.remove(&oldest.expect("invariant: rows are those of entries"));
        }
    }

    fn remove(&mut self, key: &[TokenId]) -> Option<C> {
        let entry = self.entries.remove(key)?;
        self.rows -= self.own(key);
        Some(entry.cache)
    }

    /// The rows that a sequence adds to those of the others.
    fn own(&self, tokens: &[TokenId]) -> usize {
        let before = self.entries.range::<[TokenId], _>((Bound::Unbounded, Bound::Excluded(tokens))).next_back();
        let after = self.entries.range::<[TokenId], _>((Bound::Excluded(tokens), Bound::Unbounded)).next();
        let [before, after] = [before, after].map(|entry| entry.map_or(&[][..], |(kept, _)| kept.as_slice()));
        // Where both neighbours share more with it than with each other, it is part of what they are.
        tokens.len() + shared(before, after) - shared(before, tokens) - shared(tokens, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_is_found_and_the_oldest_goes() {
        let mut store = PrefixStore::new(9);
        assert_eq!((store.longest(&[1]), store.fetch(&[1])), (0, None));
        store.insert(vec![1, 2, 3], ());
        store.insert(vec![1, 2, 3, 4, 5], ());
        assert_eq!(store.rows, 5, "a beginning of a longer entry is not kept beside it");
        store.insert(vec![1, 2], ());
        assert_eq!(store.rows, 5, "nor added to it");
        store.insert(vec![1, 9, 9], ());
        assert_eq!(store.rows, 7, "what two share counts once");
        assert_eq!(store.longest(&[1, 2, 3, 9]), 3);
        assert_eq!(store.longest(&[1, 9]), 2);
        assert_eq!(store.longest(&[0, 1]), 0);
        assert_eq!(store.longest(&[1, 2, 3, 4, 5, 6]), 5);
        // The entry that was asked for stays, the other goes.
        store.fetch(&[1, 2, 3]);
        store.insert(vec![7, 7, 7], ());
        assert_eq!((store.rows, store.longest(&[1, 9]), store.longest(&[1, 2, 3])), (8, 1, 3));
        // Whoever goes on from the end of an entry has it.
        store.fetch(&[7, 7, 7, 8]);
        assert_eq!((store.rows, store.longest(&[7, 7, 7, 8])), (5, 0));
        store.insert(vec![0; 11], ());
        assert_eq!((store.rows, store.longest(&[0])), (5, 0), "what is larger than the store is not kept");
    }
}
