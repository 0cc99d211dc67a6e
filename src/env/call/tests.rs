//! What is written is read back; no text makes reading fail.

use super::*;
use proptest::prelude::*;

const FORMATS: [ToolFormat; 7] = ToolFormat::ALL;

fn call(name: &str, arguments: &[(&str, &str)]) -> Call {
    let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Call { name: name.to_owned(), arguments }
}

#[test]
fn every_format_writes_a_call_in_its_own_way() {
    let call = call("book_room", &[("day", "Tuesday"), ("room", "Oak's")]);
    let all: Vec<String> =
        FORMATS.iter().map(|format| format!("# {}\n{}", format.as_str(), render(&call, *format))).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn text_is_an_answer_in_every_format() {
    for format in FORMATS {
        assert_eq!(parse("  All done.\n", format), Action::Answer("All done.".to_owned()), "{}", format.as_str());
        assert_eq!(parse("", format), Action::Answer(String::new()), "{}", format.as_str());
    }
    let done = Action::Answer("Done.".to_owned());
    assert_eq!(parse("Thought: that is all\nFinal Answer: Done.", ToolFormat::React), done);
    assert_eq!(parse("AI: Done.", ToolFormat::ApiBank), done);
}

#[test]
fn what_models_write_around_a_call_does_not_matter() {
    let wanted = Action::Call(call("find", &[("n", "2"), ("who", "[\"A\",\"B\"]")]));
    let object = "{\"name\": \"find\", \"arguments\": {\"who\": [\"A\", \"B\"], \"n\": 2}}";
    let parameters = object.replace("arguments", "parameters");
    for (text, format) in [
        (format!("I look.\n<tool_call>{object}</tool_call>\n"), ToolFormat::Hermes),
        (parameters.clone(), ToolFormat::Llama3),
        (format!("<|python_tag|> {parameters}"), ToolFormat::Llama3),
        (format!("[{object}]"), ToolFormat::Mistral),
        (format!("[TOOL_CALLS]  [{object}]"), ToolFormat::Mistral),
        ("Thought: a\nAction: find\nAction Input: {\"who\": [\"A\", \"B\"],\n\"n\": 2}".to_owned(), ToolFormat::React),
        ("Sure: [find(who=[\"A\",\"B\"], n='2')].".to_owned(), ToolFormat::ApiBank),
    ] {
        assert_eq!(parse(&text, format), wanted, "{text}");
    }
}

#[test]
fn a_broken_call_says_why() {
    let object = "{\"name\": \"a\"}";
    for (text, format, why) in [
        ("call x\nno colon".to_owned(), ToolFormat::Lines, "`no colon` is not `argument: value`"),
        ("call x\na: 1\na: 2".to_owned(), ToolFormat::Lines, "argument `a` is given twice"),
        ("{\"name\": ".to_owned(), ToolFormat::Json, "not a JSON call"),
        (format!("<tool_call>{object}"), ToolFormat::Hermes, "without"),
        (format!("<tool_call>{object}</tool_call><tool_call>"), ToolFormat::Hermes, "more than one call"),
        ("<tool_call>[]</tool_call>".to_owned(), ToolFormat::Hermes, "not a JSON call"),
        ("<|python_tag|>print(1)".to_owned(), ToolFormat::Llama3, "not a JSON call"),
        (format!("{object};{object}"), ToolFormat::Llama3, "not a JSON call"),
        ("[TOOL_CALLS] []".to_owned(), ToolFormat::Mistral, "no call"),
        (format!("[{object}, {object}]"), ToolFormat::Mistral, "more than one call"),
        ("[TOOL_CALLS]a{}".to_owned(), ToolFormat::Mistral, "not a list of JSON calls"),
        ("API-Request: [A(b='c'\n)]".to_owned(), ToolFormat::ApiBank, "on one line"),
        ("Action: a".to_owned(), ToolFormat::React, "without"),
        ("Action: a\nAction Input: b".to_owned(), ToolFormat::React, "not JSON"),
        ("Action: a\nAction Input: [1]".to_owned(), ToolFormat::React, "no JSON object"),
        ("Action: a\nAction Input: {}\nObservation: x".to_owned(), ToolFormat::React, "observed"),
        ("Action: a\nAction Input: {}\nFinal Answer: x".to_owned(), ToolFormat::React, "in one turn"),
        ("Action: a\nAction Input: {}\nAction: b".to_owned(), ToolFormat::React, "more than one call"),
    ] {
        let Action::Unreadable(found) = parse(&text, format) else { panic!("{text}") };
        assert!(found.contains(why), "{text}: {found}");
    }
}

#[test]
fn the_original_ends_a_value_at_any_quote() {
    let text = "API-Request: [Send(to='it's', who='['A','B']')]";
    assert_eq!(api_bank::parse_as_original(text), Action::Call(call("Send", &[("to", "it"), ("who", "[")])));
    let meant = Action::Call(call("Send", &[("to", "it's"), ("who", "['A','B']")]));
    assert_eq!(parse(text, ToolFormat::ApiBank), meant);
}

/// What a format is made of, in any order: nearly calls.
fn nearly() -> impl Strategy<Value = String> {
    let parts = [
        "call ",
        "{",
        "}",
        "[",
        "]",
        "\"name\"",
        ":",
        "\"a\"",
        "\"arguments\"",
        "<tool_call>",
        "</tool_call>",
        "<|python_tag|>",
        "[TOOL_CALLS]",
        "API-Request:",
        "[A(b='",
        "')]",
        "Action:",
        "Action Input:",
        "Final Answer:",
        "Observation:",
        "\n",
        " ",
        "'",
        "é",
        "\u{2028}",
        ",",
        "=",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_reply_is_read(text in prop_oneof![nearly(), any::<String>()]) {
        for format in FORMATS {
            parse(&text, format);
        }
        api_bank::parse_as_original(&text);
    }

    #[test]
    fn what_is_written_is_read_back(
        name in "[a-zA-Z_][a-zA-Z0-9_]{0,12}",
        arguments in prop::collection::btree_map("[a-z_]{1,8}", "[a-zA-Z0-9.,;!()@ -]{0,20}", 0..4),
    ) {
        let arguments = arguments.into_iter().map(|(name, value): (String, String)| (name, value.trim().to_owned()));
        let call = Call { name, arguments: arguments.collect() };
        for format in FORMATS {
            prop_assert_eq!(parse(&render(&call, format), format), Action::Call(call.clone()), "{}", format.as_str());
        }
    }
}

#[test]
fn long_replies_are_read_in_time() {
    for part in ["[A(", "<tool_call>", "Action:\n", "{\"name\":", "[[", "API-Request: [A(b='c', "] {
        let text = part.repeat(1_000_000 / part.len());
        FORMATS.iter().for_each(|format| drop(parse(&text, *format)));
    }
}

#[test]
fn what_is_settled_of_a_reply_is_no_part_of_a_call() {
    for (text, format, settled) in [
        ("cal", ToolFormat::Lines, 0),
        ("call find", ToolFormat::Lines, 0),
        ("called", ToolFormat::Lines, 6),
        (" \n", ToolFormat::Json, 0),
        ("Sure: {", ToolFormat::Json, 7),
        ("I look.\n<tool_", ToolFormat::Hermes, 8),
        ("I look.\n<tool_call>{", ToolFormat::Hermes, 8),
        ("a < b", ToolFormat::Hermes, 5),
        ("<|python", ToolFormat::Llama3, 0),
        ("[1]", ToolFormat::Mistral, 3),
        ("AI: Done", ToolFormat::ApiBank, 0),
    ] {
        assert_eq!(super::settled(text, format), settled, "{text}");
    }
}

proptest! {
    /// What was once told stays: it only grows, and no call that is read later stands in it.
    #[test]
    fn what_is_settled_stays(before in "[a-z <{\\[]{0,8}", after in "[a-z <{\\[\\n:]{0,8}", called: bool) {
        for format in FORMATS {
            let tail = if called { render(&call("find", &[("a", "b")]), format) } else { after.clone() };
            let text = format!("{before}{tail}");
            let mut last = 0;
            for (end, _) in text.char_indices().chain([(text.len(), ' ')]) {
                let settled = super::settled(&text[..end], format);
                prop_assert!(settled >= last && settled <= end && text.is_char_boundary(settled));
                last = settled;
            }
            if let Action::Call(_) = parse(&text, format) {
                prop_assert!(last <= before.len(), "{text}");
            }
        }
    }
}
