//! Beginnings of prompts that were read once and are gone on from again.

use std::sync::{Arc, Mutex};

use super::cache::Prefix;
use super::lock;

/// Keeps the prefixes used last, in a bounded number of bytes.
#[derive(Debug)]
pub(crate) struct Prefixes {
    limit: u64,
    /// The one used last is the last.
    kept: Mutex<Vec<Arc<Prefix>>>,
}

impl Prefixes {
    /// Of at most `limit` bytes together.
    pub(crate) fn new(limit: u64) -> Prefixes {
        Prefixes { limit, kept: Mutex::default() }
    }

    /// The prefix of exactly these tokens, if it is still there.
    pub(crate) fn get(&self, ids: &[u32]) -> Option<Arc<Prefix>> {
        let mut kept = lock(&self.kept);
        let at = kept.iter().position(|prefix| prefix.ids == ids)?;
        let prefix = kept.remove(at);
        kept.push(Arc::clone(&prefix));
        Some(prefix)
    }

    /// Keeps a prefix, and lets go of those not used for longest; one that is larger than all there may be is not kept.
    pub(crate) fn put(&self, prefix: &Arc<Prefix>) {
        if prefix.bytes() > self.limit {
            return;
        }
        let mut kept = lock(&self.kept);
        // Another thread may have read the same tokens.
        kept.retain(|other| other.ids != prefix.ids);
        kept.push(Arc::clone(prefix));
        let mut bytes: u64 = kept.iter().map(|prefix| prefix.bytes()).sum();
        while bytes > self.limit && !kept.is_empty() {
            bytes -= kept.remove(0).bytes();
        }
    }

    /// Bytes of those that are kept.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.kept).iter().map(|prefix| prefix.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::cache::{Cache, CacheShape};

    fn prefix(ids: &[u32]) -> Arc<Prefix> {
        let shape = CacheShape { layers: 1, heads: 1, head_size: 1 };
        let mut cache = Cache::new(shape, 1, ids.len()).unwrap();
        cache.advance(0..1, ids.len());
        Arc::new(cache.prefix(ids).unwrap())
    }

    #[test]
    fn the_last_used_are_kept_within_the_limit() {
        // Two floats and an id a token.
        let prefixes = Prefixes::new(12 * 5);
        for ids in [[1, 2], [3, 4]] {
            prefixes.put(&prefix(&ids));
        }
        assert!(prefixes.get(&[1]).is_none(), "another length");
        assert!(prefixes.get(&[1, 2]).is_some());
        prefixes.put(&prefix(&[5, 6]));
        assert!(prefixes.get(&[3, 4]).is_none() && prefixes.get(&[1, 2]).is_some());
        prefixes.put(&prefix(&[5, 6]));
        assert_eq!(prefixes.bytes(), 48);
        prefixes.put(&prefix(&[0; 6]));
        assert!(prefixes.get(&[0; 6]).is_none() && prefixes.bytes() == 48);
    }
}
