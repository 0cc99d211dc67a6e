//! What is looked up, sent or played: stocks, history, documents, pictures, recordings, Wikipedia, mail, music, today.

use super::check::{self, Pair, Verdict};
use super::{Call, Output, Shown, Tool, success};
use crate::env::api_bank::text::{DAY, month_and_day, reformatted, strip};
use crate::env::api_bank::value::Value;
use crate::env::api_bank::world::Network;

pub const TOOLS: &[Tool] = &[
    Tool::new("QueryStock", stock, stock_check),
    Tool::new("QueryHistoryToday", history, history_check),
    Tool::new("DocumentQA", document, document_check),
    Tool::new("ImageCaption", caption, check::exact),
    Tool::new("SpeechRecognition", speech, check::exact),
    Tool::new("Wiki", wiki, check::named_result),
    Tool::new("SendEmail", mail, mail_check),
    Tool::new("PlayMusic", music, |pair| pair.same("output")),
    Tool::new("GetToday", today, today_check).optional(&[], Shown::Nothing),
    Tool::new("Dictionary", dictionary, check::named_result),
    Tool::new("Translate", translate, translate_check).optional(&["src_lang", "tgt_lang"], Shown::Given),
];

fn stock(call: &mut Call) -> Output {
    let code = call.text("stock_code", "upper")?.to_uppercase();
    let date = reformatted(&call.text("date", "strip")?, DAY);
    if strip(&code).is_empty() {
        return Err("The stock code cannot be empty.".into());
    }
    let date = date?;
    let Some(prices) = call.world.library().stocks.get(strip(&code)) else {
        return Err("The stock code does not exist.".into());
    };
    prices.get(&date).cloned().ok_or_else(|| "The stock price of this date is not maintained.".into())
}

fn history(call: &mut Call) -> Output {
    let date = month_and_day(&call.text("date", "strip")?)?;
    let Some(events) = call.world.library().history.get(&date).and_then(Value::as_list) else {
        return Err("The date is not in the database.".into());
    };
    let of = |event: &Value, name: &str| strip(event.get(name).and_then(Value::as_str).unwrap_or_default()).to_owned();
    let line = |event: &Value| {
        let [title, date, description] = ["Title", "Date", "Description"].map(|name| of(event, name));
        Value::str(format!("Title: {title}, Date: {date}, Description: {description}"))
    };
    Ok(Value::list(events.iter().map(line).collect()))
}

/// The data has a list where the tool expects questions, so that it never finds one.
fn document(call: &mut Call) -> Output {
    let (url, question) = (call.stripped("url")?, call.stripped("question")?);
    if question.is_empty() {
        return Err("The question is empty.".into());
    }
    match call.world.library().documents.get(&url) {
        None => Err("The document of this url failed to be processed.".into()),
        Some(Value::Dict(answers)) if answers.get(&question).is_some() => {
            Ok(answers.get(&question).cloned().unwrap_or(Value::None))
        }
        Some(_) => Ok(Value::str("The question is too difficult to answer.")),
    }
}

fn caption(call: &mut Call) -> Output {
    let url = call.stripped("url")?;
    if ![".jpg", ".jpeg", ".png"].iter().any(|ending| url.ends_with(ending)) {
        return Err("The url should end with .jpg, .jpeg or .png.".into());
    }
    let caption = call.world.library().captions.get(url.as_str()).cloned();
    caption.ok_or_else(|| "The image of this url failed to be processed.".into())
}

fn speech(call: &mut Call) -> Output {
    let url = call.stripped("url")?;
    if !url.ends_with(".wav") {
        return Err("The url should end with .wav.".into());
    }
    let transcript = call.world.library().recordings.get(&url).cloned();
    transcript.ok_or_else(|| "The audio of this url failed to be processed.".into())
}

fn wiki(call: &mut Call) -> Output {
    let keyword = strip(&call.text("keyword", "replace")?.replace('_', " ")).to_lowercase();
    let Some(page) = call.world.library().wiki.get(&keyword) else { return Err("Keyword not found.".into()) };
    let of = |name: &str| page.get(name).cloned().unwrap_or(Value::None);
    Ok(Value::dict([("url", of("url")), ("summary", of("summary"))]))
}

/// Letters, digits and at most one dot or underline between them; a host of one word; two or three letters.
fn is_address(text: &str) -> bool {
    let Some((name, host)) = text.split_once('@') else { return false };
    let Some((host, end)) = host.split_once('.') else { return false };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let word = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    let named = match name.split_once(['.', '_']) {
        Some((first, last)) => !first.is_empty() && !last.is_empty() && plain(first) && plain(last),
        None => name.len() > 1 && plain(name),
    };
    named && !host.is_empty() && word(host) && word(end) && (2..=3).contains(&end.chars().count())
}

fn mail(call: &mut Call) -> Output {
    let [receiver, subject, content] =
        [call.stripped("receiver")?, call.stripped("subject")?, call.stripped("content")?];
    if !is_address(&receiver) {
        return Err("Email address of the receiver is invalid.".into());
    }
    if subject.is_empty() {
        return Err("Subject cannot be empty.".into());
    }
    if content.is_empty() {
        return Err("Content cannot be empty.".into());
    }
    success()
}

fn music(call: &mut Call) -> Output {
    let name = call.text("music_name", "lower")?.to_lowercase();
    match strip(&name) {
        "" => Err("The music name cannot be empty.".into()),
        name => Ok(Value::str(format!("music://{name}"))),
    }
}

fn today(_: &mut Call) -> Output {
    Ok(Value::str("2023-03-31"))
}

/// What was recorded of an online service; otherwise as if it could not be reached.
fn online(call: &Call, tool: &str, key: &str, failure: &str) -> Output {
    let library = call.world.library();
    let recorded = library.online.get(tool).and_then(|answers| answers.get(key));
    match recorded.filter(|_| call.world.network == Network::Recorded) {
        Some(output) => Ok(output.clone()),
        None => Err(failure.into()),
    }
}

pub fn dictionary_key(keyword: &str) -> String {
    strip(&keyword.replace('_', " ")).to_lowercase()
}

pub fn translate_key(of: impl Fn(&str) -> Option<String>) -> String {
    let language = |name: &str| of(name).unwrap_or_default().to_lowercase();
    format!("{}\n{}\n{}", language("src_lang"), language("tgt_lang"), of("src").unwrap_or_default())
}

fn dictionary(call: &mut Call) -> Output {
    let key = dictionary_key(&call.text("keyword", "replace")?);
    online(call, "Dictionary", &key, "Failed.")
}

fn translate(call: &mut Call) -> Output {
    let key = translate_key(|name| call.input.get(name).map(Value::display));
    online(call, "Translate", &key, "Failed.")
}

fn stock_check(pair: &Pair) -> Verdict {
    Ok(pair.raised("stock_code")? && pair.alike("date", |it| reformatted(it, DAY))? && pair.result()?)
}

fn history_check(pair: &Pair) -> Verdict {
    Ok(pair.alike("date", month_and_day)? && pair.result()?)
}

fn document_check(pair: &Pair) -> Verdict {
    Ok(pair.stripped("url")? && pair.stripped("question")? && pair.result()?)
}

fn mail_check(pair: &Pair) -> Verdict {
    Ok(pair.folded("receiver")? && pair.stripped("subject")? && pair.stripped("content")? && pair.result()?)
}

/// Any day will do.
fn today_check(pair: &Pair) -> Verdict {
    let none = |key: &str| pair.both(key).map(|[response, _]| response.is_none());
    Ok(!none("output")? && none("exception")? && none("input")?)
}

fn translate_check(pair: &Pair) -> Verdict {
    Ok(pair.same("api_name")? && pair.same_input("src")? && pair.result()?)
}
