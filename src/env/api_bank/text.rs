//! What the tools do with text as the original's language does it: dates by format, digits, white space.

use super::value::quoted;

pub const DAY: &str = "%Y-%m-%d";
pub const SECOND: &str = "%Y-%m-%d %H:%M:%S";
const MONTH_DAY: &str = "%m-%d";

/// A point in time; a date alone is its midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub year: u32,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

impl Moment {
    /// A year below 1000 is written without zeros in front, as the C library of Linux does.
    pub fn format(&self, format: &str) -> String {
        let Self { year, month, day, hour, minute, second } = self;
        match format {
            DAY => format!("{year}-{month:02}-{day:02}"),
            MONTH_DAY => format!("{month:02}-{day:02}"),
            _ => format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
        }
    }
}

pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// How many bytes a part of a format may take, best first.
fn lengths(part: char, text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let digit = |place: usize| bytes.get(place).filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0');
    let (first, second) = (digit(0), digit(1));
    let two = |low: u8, high: u8| {
        matches!((first, second), (Some(a), Some(b)) if (low..=high).contains(&(a * 10 + b))).then_some(2)
    };
    let one = |low: u8| first.filter(|it| *it >= low).map(|_| 1);
    match part {
        'Y' => (0..4).all(|place| digit(place).is_some()).then_some(4).into_iter().collect(),
        'm' => two(1, 12).into_iter().chain(one(1)).collect(),
        'd' => {
            let blank = matches!((bytes.first(), second), (Some(b' '), Some(1..))).then_some(2);
            two(1, 31).into_iter().chain(one(1)).chain(blank).collect()
        }
        'H' => two(0, 23).into_iter().chain(one(0)).collect(),
        'M' => two(0, 59).into_iter().chain(one(0)).collect(),
        'S' => two(0, 61).into_iter().chain(one(0)).collect(),
        ' ' => {
            let mut ends: Vec<usize> =
                text.char_indices().take_while(|(_, c)| is_space(*c)).map(|(at, c)| at + c.len_utf8()).collect();
            ends.reverse();
            ends
        }
        literal => text.starts_with(literal).then_some(literal.len_utf8()).into_iter().collect(),
    }
}

/// The first way, best first, in which the parts take the beginning of a text: what each took, and what is left.
fn matched<'a>(parts: &[char], text: &'a str, taken: &mut Vec<(char, u32)>) -> Option<&'a str> {
    let Some((&part, rest)) = parts.split_first() else { return Some(text) };
    for length in lengths(part, text) {
        let (head, tail) = text.split_at(length);
        let depth = taken.len();
        if let Ok(number) = head.trim().parse() {
            taken.push((part, number));
        }
        if let Some(left) = matched(rest, tail, taken) {
            return Some(left);
        }
        taken.truncate(depth);
    }
    None
}

/// As `datetime.strptime`, with its messages.
pub fn parse(text: &str, format: &str) -> Result<Moment, String> {
    let parts: Vec<char> = format.chars().filter(|c| *c != '%').collect();
    let mut taken = Vec::new();
    let Some(left) = matched(&parts, text, &mut taken) else {
        return Err(format!("time data {} does not match format '{format}'", quoted(text)));
    };
    if !left.is_empty() {
        return Err(format!("unconverted data remains: {left}"));
    }
    let part = |name: char, otherwise| taken.iter().find(|(it, _)| *it == name).map_or(otherwise, |(_, it)| *it);
    let moment = Moment {
        year: part('Y', 1900),
        month: part('m', 1),
        day: part('d', 1),
        hour: part('H', 0),
        minute: part('M', 0),
        second: part('S', 0),
    };
    let leap = moment.year.is_multiple_of(4) && (!moment.year.is_multiple_of(100) || moment.year.is_multiple_of(400));
    let days = match moment.month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if moment.year == 0 {
        return Err("year 0 is out of range".to_owned());
    }
    if moment.day > days {
        return Err("day is out of range for month".to_owned());
    }
    if moment.second > 59 {
        return Err("second must be in 0..59".to_owned());
    }
    Ok(moment)
}

/// A date that people wrote: stripped, its year filled up to four digits.
pub fn filled(text: &str) -> String {
    let text = strip(text);
    let mut parts: Vec<&str> = text.split('-').collect();
    if parts.len() != 3 || parts[0].chars().count() >= 4 {
        return text.to_owned();
    }
    let (sign, digits) = match parts[0].strip_prefix('+') {
        Some(digits) => ("+", digits),
        None => ("", parts[0]),
    };
    let zeros = "0".repeat(4 - parts[0].chars().count());
    let year = format!("{sign}{zeros}{digits}");
    parts[0] = &year;
    parts.join("-")
}

/// A date that people wrote, in the format's own way.
pub fn reformatted(text: &str, format: &str) -> Result<String, String> {
    parse(&filled(text), format).map(|moment| moment.format(format))
}

/// Month and day of a date with or without a year.
pub fn month_and_day(text: &str) -> Result<String, String> {
    let text = filled(text);
    parse(&text, DAY).or_else(|_| parse(&text, MONTH_DAY)).map(|moment| moment.format(MONTH_DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_the_originals_messages() {
        assert_eq!(reformatted(" 23-4-01 ", DAY), Ok("23-04-01".to_owned()));
        assert_eq!(parse("2023-02-30", DAY), Err("day is out of range for month".to_owned()));
        assert_eq!(parse("2023-04-01 x", DAY), Err("unconverted data remains:  x".to_owned()));
        assert_eq!(
            parse("it's", SECOND),
            Err("time data \"it's\" does not match format '%Y-%m-%d %H:%M:%S'".to_owned())
        );
        assert_eq!(month_and_day("02-29"), Err("day is out of range for month".to_owned()));
        assert_eq!(month_and_day("2024-2-29"), Ok("02-29".to_owned()));
        assert!(parse("2023-1-1  7:5:61", SECOND).is_err());
    }
}
