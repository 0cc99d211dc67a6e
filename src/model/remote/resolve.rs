//! Looks an endpoint's name up, and keeps what it found for a moment.
//!
//! The client would look it up for each request, on a thread started for that, although the connection is there already.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long addresses are kept, in milliseconds: shorter than the waits before a request is sent once more add up to, so that
/// an endpoint that moved is found again.
const KEPT: u64 = 5_000;

pub struct Resolve {
    clock: fn() -> u64,
    plain: DefaultResolver,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    authority: String,
    since: u64,
    addresses: Vec<SocketAddr>,
}

impl Resolve {
    pub fn new(clock: fn() -> u64) -> Self {
        Self { clock, plain: DefaultResolver::default(), kept: Mutex::default() }
    }
}

impl fmt::Debug for Resolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolve")
    }
}

impl Resolver for Resolve {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (now, authority) = ((self.clock)(), uri.authority().map_or("", |authority| authority.as_str()));
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Kept { authority: of, since, addresses }) = &*kept()
            && of == authority
            // A clock that was set back keeps nothing.
            && now.checked_sub(*since).is_some_and(|age| age < KEPT)
        {
            let mut found = self.empty();
            addresses.iter().for_each(|address| found.push(*address));
            return Ok(found);
        }
        // Unlocked: a name that cannot be looked up keeps each request for its own time at most.
        let found = self.plain.resolve(uri, config, timeout)?;
        *kept() = Some(Kept { authority: authority.to_owned(), since: now, addresses: found.to_vec() });
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn what_was_found_is_kept_for_a_moment_and_for_its_name_alone() {
        static NOW: AtomicU64 = AtomicU64::new(9_000);
        let resolve = Resolve::new(|| NOW.load(Ordering::SeqCst));
        let ask = |address: &'static str| {
            let found = resolve.resolve(&Uri::from_static(address), &Config::default(), NextTimeout::default());
            found.map(|found| found.to_vec())
        };
        let since = || resolve.kept.lock().unwrap().as_ref().unwrap().since;
        let here = ["127.0.0.1:81".parse().unwrap()];
        assert_eq!((ask("http://127.0.0.1:81/v1").unwrap(), since()), (here.to_vec(), 9_000));
        NOW.store(13_999, Ordering::SeqCst);
        assert_eq!((ask("http://127.0.0.1:81/v1/models").unwrap(), since()), (here.to_vec(), 9_000));
        assert_eq!((ask("http://127.0.0.1:82").unwrap()[0].port(), since()), (82, 13_999));
        for now in [18_999, 4_000] {
            NOW.store(now, Ordering::SeqCst);
            assert_eq!((ask("http://127.0.0.1:82").unwrap().len(), since()), (1, now));
        }
    }
}
