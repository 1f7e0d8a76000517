//! Parts of a state. States that follow from each other share most of theirs, and what they are hashed to.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Index, IndexMut};
use std::rc::Rc;

/// A part that is copied when it changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Part<T> {
    value: Rc<T>,
    hash: Cell<Option<u64>>,
}

impl<T: Clone> Part<T> {
    pub(super) fn new(value: T) -> Self {
        Self { value: Rc::new(value), hash: Cell::new(None) }
    }

    pub(super) fn edit(&mut self) -> &mut T {
        self.hash.set(None);
        Rc::make_mut(&mut self.value)
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Hash> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let hash = self.hash.get().unwrap_or_else(|| {
            let mut bytes = Bytes::default();
            self.value.hash(&mut bytes);
            bytes.finish()
        });
        self.hash.set(Some(hash));
        state.write_u64(hash);
    }
}

/// Something for each ordered pair of peers.
#[derive(Debug, Clone)]
pub(super) struct Grid<T> {
    peers: usize,
    cells: Vec<T>,
}

impl<T: Clone> Grid<T> {
    pub(super) fn new(peers: usize, value: T) -> Self {
        Self { peers, cells: vec![value; peers * peers] }
    }

    /// The pairs of which something is so.
    pub(super) fn pairs(&self, is_so: impl Fn(&T) -> bool) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for (place, cell) in self.cells.iter().enumerate() {
            if is_so(cell) {
                pairs.push((place / self.peers, place % self.peers));
            }
        }
        pairs
    }

    pub(super) fn row_mut(&mut self, first: usize) -> &mut [T] {
        &mut self.cells[first * self.peers..][..self.peers]
    }
}

impl<T> Index<(usize, usize)> for Grid<T> {
    type Output = T;

    fn index(&self, (first, second): (usize, usize)) -> &T {
        &self.cells[first * self.peers + second]
    }
}

impl<T> IndexMut<(usize, usize)> for Grid<T> {
    fn index_mut(&mut self, (first, second): (usize, usize)) -> &mut T {
        &mut self.cells[first * self.peers + second]
    }
}

impl<T: Hash> Hash for Grid<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.cells.hash(state);
    }
}

/// Collects what is hashed, for a hash function that was compiled for speed.
pub(super) struct Bytes(Vec<u8>);

impl Default for Bytes {
    fn default() -> Self {
        Self(Vec::with_capacity(1024))
    }
}

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = blake3::hash(&self.0);
        u64::from_be_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}
