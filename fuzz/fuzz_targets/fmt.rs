//! Every text that can be read can be formatted, and then stays as it is.
#![no_main]

use agx::syntax::{fmt::format, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if parse(text).1.is_empty() {
        let formatted = format(text).expect("what can be read can be formatted");
        assert_eq!(format(&formatted).as_ref(), Ok(&formatted));
    }
});
