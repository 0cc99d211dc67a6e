//! Turns the block of a model behind an endpoint into how it is asked, what it costs and how fast it may be asked.
//!
//! # Invariants
//! A secret is a name: its value is nowhere in a checked experiment.

use super::Checker;
use super::error::CheckError;
use super::fields::{Fields, HTTP, WEB, authority, host};
use super::vocabulary;
use crate::model::{Limits, Price, Remote};
use crate::syntax::ast::{Block, ExprKind};
use std::net::Ipv4Addr;

const OPENAI: &str = "https://api.openai.com/v1";
/// What is asked below the address.
const ASKED: &str = "/chat/completions";
const IN_FLIGHT: u32 = 8;
/// Milliseconds.
const TIMEOUT: u64 = 120_000;
const CONNECT: u64 = 10_000;
const RETRIES: u32 = 4;

impl Checker<'_> {
    pub(super) fn remote(&mut self, fields: &Fields) -> Option<Remote> {
        let (apply, _) = self.choice_of(fields, "remote")??;
        let name = self.text_argument(apply);
        if let (Some(name), Some([argument])) = (&name, apply.arguments.as_deref())
            && !is_dated(name)
        {
            self.error(CheckError::Undated { span: argument.value.span, name: name.clone() });
        }
        let empty = Block { span: apply.path.span, entries: Vec::new(), broken: false };
        let fields = self.fields(apply.block.as_ref().unwrap_or(&empty), &vocabulary::REMOTE);
        let key = self.secret(&fields);
        let base_url = match fields.value("base_url") {
            None => Some(OPENAI.to_owned()),
            Some(value) => self.address(value, "`base_url`", HTTP, (WEB, OPENAI)).filter(|url| {
                let authority = authority(url);
                if authority.contains('@') {
                    self.error(CheckError::SecretInAddress { span: value.span });
                } else if url.starts_with("http:") && key.is_some() && !is_here(authority) {
                    self.error(CheckError::KeyInTheClear { span: value.span });
                }
                // What is asked is put behind it.
                let goes_on = !url.contains(['?', '#']) && !url.trim_end_matches('/').ends_with(ASKED);
                if !goes_on {
                    let (of, what) =
                        ("`base_url`".to_owned(), "the address before `/chat/completions`, without `?` and `#`");
                    self.error(CheckError::TextForm { span: value.span, of, what, wanted: OPENAI });
                }
                goes_on && !authority.contains('@')
            }),
        };
        let price = fields.block("price").map(|block| self.price(block));
        let limits = fields.block("limits").map(|block| self.limits(block));
        let (timeout, connect, first_byte) = (TIMEOUT, CONNECT, TIMEOUT);
        let usual = Limits { rate: None, in_flight: IN_FLIGHT, timeout, connect, first_byte, retries: RETRIES };
        Some(Remote {
            name: name?,
            base_url: base_url?,
            key: match key {
                None => None,
                Some(key) => Some(key?),
            },
            price: match price {
                None => None,
                Some(price) => Some(price?),
            },
            limits: limits.unwrap_or(Some(usual))?,
        })
    }

    fn secret(&mut self, fields: &Fields) -> Option<Option<String>> {
        if let Some(value) = fields.value("key")
            && matches!(value.kind, ExprKind::Text(_))
        {
            self.error(CheckError::SecretOutside { span: value.span });
            return Some(None);
        }
        let chosen = self.choice_of(fields, "key")?;
        Some(chosen.and_then(|(apply, _)| self.text_argument(apply)))
    }

    fn price(&mut self, block: &Block) -> Option<Price> {
        let fields = self.fields(block, &vocabulary::PRICE);
        let input = self.amount_of(&fields, "input").flatten();
        let output = self.amount_of(&fields, "output").flatten();
        let cached = self.amount_of(&fields, "cached").unwrap_or(input);
        Some(Price { input: input?, output: output?, cached: cached? })
    }

    fn limits(&mut self, block: &Block) -> Option<Limits> {
        let fields = self.fields(block, &vocabulary::LIMITS);
        let rate = self.rate_of(&fields, "rate");
        let in_flight = self.small_of(&fields, "in_flight").unwrap_or(Some(IN_FLIGHT));
        let timeout = self.time_of(&fields, "timeout").unwrap_or(Some(TIMEOUT));
        let connect = self.time_of(&fields, "connect").unwrap_or(Some(CONNECT));
        let first_byte = self.time_of(&fields, "first_byte").unwrap_or(timeout);
        let retries = self.small_of(&fields, "retries").unwrap_or(Some(RETRIES));
        let rate = match rate {
            None => None,
            Some(rate) => Some(rate?),
        };
        let (timeout, connect, first_byte) = (timeout?, connect?, first_byte?);
        Some(Limits { rate, in_flight: in_flight?, timeout, connect, first_byte, retries: retries? })
    }
}

/// Whether a host, perhaps with a port, is this machine.
fn is_here(authority: &str) -> bool {
    let (name, _) = host(authority);
    matches!(name, "localhost" | "[::1]") || name.parse::<Ipv4Addr>().is_ok_and(|it| it.is_loopback())
}

/// Whether a model's name holds a date, as `gpt-4o-2024-08-06` or `mistral-large-2411` do.
fn is_dated(name: &str) -> bool {
    let mut digits = 0;
    for letter in name.chars() {
        match letter {
            '0'..='9' => digits += 1,
            // A date may be written with strokes.
            '-' | '_' if digits > 0 && digits % 2 == 0 => {}
            _ => digits = 0,
        }
        if digits >= 4 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{is_dated, is_here};

    #[test]
    fn this_machine_is_known() {
        for here in ["localhost", "localhost:8000", "127.0.0.1:80", "127.1.2.3", "[::1]", "[::1]:8000"] {
            assert!(is_here(here), "{here}");
        }
        for there in ["localhost.example.org", "10.0.0.1:8000", "127.0.0.1.example.org", "::1", "", "[::2]:8000"] {
            assert!(!is_here(there), "{there}");
        }
    }

    #[test]
    fn a_date_is_seen() {
        for dated in ["gpt-4o-2024-08-06", "mistral-large-2411", "claude-3-5-sonnet-20241022"] {
            assert!(is_dated(dated), "{dated}");
        }
        for undated in ["gpt-4o", "qwen2.5-7b-instruct", "llama-3-70b", "o3-mini"] {
            assert!(!is_dated(undated), "{undated}");
        }
    }
}
