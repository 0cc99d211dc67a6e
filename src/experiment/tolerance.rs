//! Turns `max_failed`, `timeout` and `retries` of a statement into what its step does about items that fail.

use super::Checker;
use super::error::CheckError;
use super::fields::{Fields, Given};
use super::value::Value;
use crate::base::units::Millis;
use crate::node::tolerance::{MaxFailed, Tolerance};

impl Checker<'_> {
    /// Of a step that has at most so many items.
    pub(super) fn tolerance(&mut self, fields: &Fields, items: Option<u64>) -> Option<Tolerance> {
        let max_failed = self.max_failed(fields, items).unwrap_or(Some(MaxFailed::default()));
        let timeout = self.time_of(fields, "timeout").map_or(Some(None), |time| time.map(|time| Some(Millis(time))));
        let retries = self.small_of(fields, "retries").unwrap_or(Some(0));
        Some(Tolerance { max_failed: max_failed?, timeout: timeout?, retries: retries? })
    }

    fn max_failed(&mut self, fields: &Fields, items: Option<u64>) -> Given<MaxFailed> {
        let (value, _) = fields.given("max_failed")?;
        let (span, of) = (value.span, "`max_failed`");
        let most = items.unwrap_or(u64::MAX);
        let Some(found) = self.value(value) else { return Some(None) };
        Some(match found {
            Value::Int(number) => match u64::try_from(number) {
                Ok(count) if count <= most => Some(MaxFailed::Items(count)),
                _ => {
                    let high = items.map_or(f64::INFINITY, |most| most as f64);
                    self.out_of_range(span, of, number as f64, 0.0, high);
                    None
                }
            },
            Value::Percent(share) if (0.0..=1.0).contains(&share) => Some(MaxFailed::share(share)),
            Value::Percent(share) => {
                self.out_of_range(span, "`max_failed`, in percent,", share * 100.0, 0.0, 100.0);
                None
            }
            other => {
                let wanted = "a whole number or a percentage";
                self.error(CheckError::Mismatch { span, found: other.words(), wanted, of: of.to_owned() });
                None
            }
        })
    }
}
