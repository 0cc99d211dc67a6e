//! Turns differences, and the reasons of other keys, into words.

use crate::plan::Difference;
use crate::plan::why::Why;
use crate::report::text::{clip, plain};
use serde_json::Value;

/// Longer values are cut: both are in the JSON.
const MOST: usize = 60;
/// What stays of a text before the place where it differs.
const BEFORE: usize = 20;

/// The field and what stands there on either side; of texts with several lines, the first line that differs.
pub fn words(difference: &Difference) -> [String; 3] {
    let Difference { field, was, is } = difference;
    if let (Some(Value::String(was)), Some(Value::String(is))) = (was, is)
        && (was.contains('\n') || is.contains('\n'))
    {
        let (line, (was, is)) = first_line(was, is);
        let quoted = |text: Option<&str>| text.map_or_else(|| "none".to_owned(), |text| format!("“{}”", plain(text)));
        let (was, is) = cut(&quoted(was), &quoted(is));
        return [format!("{}, line {line}", plain(field)), was, is];
    }
    let (was, is) = cut(&value(was.as_ref()), &value(is.as_ref()));
    [plain(field), was, is]
}

type Lines<'t> = (Option<&'t str>, Option<&'t str>);

/// The number of the first line that differs, from 1, and that line on either side.
fn first_line<'t>(was: &'t str, is: &'t str) -> (usize, Lines<'t>) {
    let (mut was, mut is) = (was.lines(), is.lines());
    let mut pairs = std::iter::from_fn(|| Some((was.next(), is.next()))).enumerate();
    let differs = |(_, (was, is)): &(usize, Lines<'t>)| was != is || was.is_none();
    let (at, lines) = pairs.find(differs).expect("lines end");
    (at + 1, lines)
}

/// Both clipped; what they begin with alike is left out where it would hide the rest.
fn cut(was: &str, is: &str) -> (String, String) {
    let alike = was.chars().zip(is.chars()).take_while(|(was, is)| was == is).count();
    let hides = was.chars().count().max(is.chars().count()) > MOST && alike > MOST / 2;
    let skip = if hides { alike - BEFORE } else { 0 };
    let short = |text: &str| {
        let rest: String = text.chars().skip(skip).collect();
        clip(&if skip > 0 { format!("…{rest}") } else { rest }, MOST)
    };
    (short(was), short(is))
}

fn value(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(Value::Array(list)) => list.iter().map(|it| self::value(Some(it))).collect::<Vec<_>>().join(", "),
        Some(other) => plain(&other.to_string()),
    }
}

/// `sft.lr was 0.0005, is 0.002`
pub fn why(why: &Why, run: &str) -> String {
    match why {
        Why::New => format!("{} has no such node", plain(run)),
        Why::Field { difference, was_called } => {
            let [field, was, is] = words(difference);
            match was_called {
                None => format!("{field} was {was}, is {is}"),
                Some(before) => format!("{field} is {is}, where {} was {was}", plain(before)),
            }
        }
        Why::Because { node } => format!("because {} differs", plain(node)),
        Why::Reads { was, is } => {
            let list = |nodes: &[String]| match nodes {
                [] => "nothing".to_owned(),
                nodes => plain(&nodes.join(", ")),
            };
            format!("it read {}, and reads {}", list(was), list(is))
        }
        Why::Meaning => format!("the file says the same: agx has changed since {}, or a file that it read", plain(run)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(was: Value, is: Value) -> String {
        words(&Difference { field: "it".to_owned(), was: Some(was), is: Some(is) }).join(" | ")
    }

    #[test]
    fn values_are_short_and_show_where_they_differ() {
        assert_eq!(told(json!(0.0005), json!(1e-6)), "it | 0.0005 | 1e-6");
        assert_eq!(told(json!(null), json!(["a", "b"])), "it | none | a, b");
        assert_eq!(told(json!("a\nb\nc"), json!("a\nB\nc")), "it, line 2 | “b” | “B”");
        assert_eq!(told(json!("a\nb"), json!("a\nb\nmore")), "it, line 3 | none | “more”");
        let long = "where score >= 3 and traj.ended and traj.truncated and traj.calls <= ".to_owned();
        assert_eq!(
            told(json!(format!("{long}5")), json!(format!("{long}6"))),
            "it | …d and traj.calls <= 5 | …d and traj.calls <= 6"
        );
        assert_eq!(told(json!("\u{1b}[2J"), json!("b")), "it | U+001B[2J | b");
    }
}
