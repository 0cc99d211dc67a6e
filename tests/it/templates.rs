//! Chat templates in the styles of the known families, on generated conversations, byte for byte as Jinja2 renders them.
//!
//! What Jinja2 makes of them stands in `templates/expected.json`, which `tests/templates` writes and holds against a fresh run.

use agx::model::template::Template;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Of one template: a text in full, and what comes of each conversation.
#[derive(Deserialize)]
struct Expected {
    shown: Shown,
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Shown {
    number: usize,
    text: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Outcome {
    Text {
        bytes: usize,
        /// The first half of its digest.
        blake3: String,
    },
    /// By the template's own `raise_exception`.
    Raises { raises: String },
    /// In Python's words, which are not ours.
    Fails { fails: bool },
}

fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/templates")
}

fn read(name: &str) -> String {
    fs::read_to_string(home().join(name)).unwrap()
}

fn render(template: &str, variables: &str) -> Result<String, String> {
    Template::new(template).and_then(|template| template.render(variables)).map_err(|error| error.to_string())
}

#[test]
fn templates_render_as_in_jinja2() {
    let conversations = read("conversations.json");
    let conversations: Vec<&RawValue> = serde_json::from_str(&conversations).unwrap();
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&read("expected.json")).unwrap();
    let files = fs::read_dir(home())
        .unwrap()
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "jinja"));
    assert_eq!(files.count(), expected.len(), "tests/templates has seen every template");
    assert!(expected.len() >= 40 && conversations.len() >= 20);

    let mut problems = Vec::new();
    for (name, Expected { shown, outcomes }) in &expected {
        assert_eq!(outcomes.len(), conversations.len());
        let template = Template::new(&read(&format!("{name}.jinja"))).unwrap();
        let ours: Vec<_> = conversations.iter().map(|variables| template.render(variables.get())).collect();
        assert_eq!(ours[shown.number].as_deref().unwrap_or_default(), shown.text, "{name}, {}", shown.number);
        for (number, (ours, outcome)) in ours.iter().zip(outcomes).enumerate() {
            let same = match (ours, outcome) {
                (Ok(text), Outcome::Text { bytes, blake3 }) => {
                    text.len() == *bytes && blake3::hash(text.as_bytes()).to_hex().starts_with(blake3)
                }
                (Err(error), Outcome::Raises { raises }) => error.to_string().ends_with(raises),
                (Err(_), Outcome::Fails { .. }) => true,
                _ => false,
            };
            if !same {
                problems.push(format!("{name} {number}: {ours:?}, not {outcome:?}"));
            }
        }
    }
    assert!(problems.is_empty(), "tests/templates --show NAME NUMBER tells Jinja2's text:\n{}", problems.join("\n"));
}

/// What minijinja reads in another way is put into its words only where it is an expression.
#[test]
fn what_is_no_expression_stays_as_it_is() {
    let cases = [
        ("{% raw %}{{ a ~ b }}{% generation %}{% endraw %}", "{{ a ~ b }}{% generation %}"),
        ("a ~ b{# '%s' % x ~ y #}", "a ~ b"),
        ("{{ 'a ~ b' ~ \"in for %\" }}", "a ~ bin for %"),
        ("{{ '}}' ~ '%}' ~ '{{' }}", "}}%}{{"),
        ("{{ {'a': {'b': 1 ~ 2}}}}", "{'a': {'b': '12'}}"),
        ("{{ 2 * 3 ~ 4 + '5' ~ 6 }}", "6456"),
        ("{% for x in [3, 1] if x ~ '' in '1' %}{{ x ~ 1e22 }}{% endfor %}", "11e+22"),
        ("{{ '%s and %s' % ('a', [1e-7]) ~ '%d' % 5.5 }}", "a and [1e-07]5"),
        ("{{ '%s' % messages[0].role.upper() ~ '!' }}", "USER!"),
        ("{%- generation -%} a {%- endgeneration +%} b", "a b"),
        ("{% for x in 'a' ~ 1 %}{{ x }}{% endfor %}{% for x in ['b'] if x %}{{ x }}{% endfor %}", "a1b"),
        ("{{ '\\U0001F600\\/\\a' }}", "😀\\/\u{7}"),
    ];
    for (template, text) in cases {
        assert_eq!(render(template, r#"{"messages": [{"role": "user"}]}"#).as_deref(), Ok(text), "{template}");
    }
}

/// A template comes with a model, from anywhere.
#[test]
fn a_hostile_template_ends_in_an_error() {
    let double = "{% set s = [s, s] %}".repeat(60);
    for template in [
        "{{",
        "{%",
        "{#",
        "{{ '",
        "{% generation",
        "{% generation %}",
        "{% raw %}",
        "{{é",
        "{{é1",
        "{%é",
        "{{-é",
        "{{ '\\",
        "{{ '\\U000é",
        "{{ ~ }}",
        "{{ a ~",
        "{{ (a ~ }}",
        "{{ 'a' % }}",
        "{% for x in none %}{% endfor %}",
        "{% for %}",
        "{% for x in %}{% endfor %}",
        "{{ ''.ljust(10000000000) }}",
        "{{ 'a' | center(10000000000) }}",
        "{{ 'a' | indent(10000000000) }}",
        "{{ [1] | tojson(indent='x' * 100000000) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ strftime_now('%Y') }}",
        "{{ undefined_name.x }}",
        "{{ messages | tojson(nothing=1) }}",
        "{{ {(1, 2): 3} | tojson }}",
        "{{ {}['x'] | tojson }}",
        "{% include 'x' %}",
        "{{ 'a'.split('') }}",
        &format!("{{% set s = 'x' %}}{double}{{{{ s | string }}}}"),
        &format!("{{% set s = 'x' %}}{double}{{{{ s | tojson }}}}"),
        &format!("{{% set s = 'x' %}}{double}{{{{ s }}}}"),
        &format!("{{% set s = 'x' %}}{double}{{{{ 'a' ~ s }}}}"),
        &format!("{{{{ {}1{} | tojson }}}}", "[".repeat(300), "]".repeat(300)),
        "{% set ns = namespace(x=1) %}{% for i in range(300) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
    ] {
        let problem = render(template, r#"{"messages": [{"role": "user", "content": "x"}]}"#).expect_err(template);
        assert!(problem.starts_with("the chat template failed: "), "{template}: {problem}");
    }
    // Values so deep that to drop them takes a stack of its own.
    for deeper in ["[ns.x]", "{'x': ns.x}"] {
        let loops = "{% for i in range(1000) %}{% for j in range(1000) %}";
        let nested =
            format!("{{% set ns = namespace(x=1) %}}{loops}{{% set ns.x = {deeper} %}}{{% endfor %}}{{% endfor %}}");
        assert!(render(&nested, "{}").is_err_and(|problem| problem.contains("fuel")), "{deeper}");
    }
    let problem = render("{{ strftime_now('%Y') }}", "{}").unwrap_err();
    assert!(problem.contains("asks for today's date"), "{problem}");
    assert!(render("", "not JSON").is_err() && render("", "[1]").is_ok_and(|text| text.is_empty()));
}
