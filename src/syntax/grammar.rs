//! Turns the grammar into a parser, and its rules into the words a person would use for them.

use crate::base::Span;
use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/agx.pest"]
pub struct Grammar;

/// Where a text stops being what `rule` is, and what would have been due there.
pub struct Miss {
    pub at: usize,
    pub expected: Vec<&'static str>,
}

/// Reads `text`, which begins at `offset` of the file, as one `rule` alone. `None`: it can be read.
pub fn miss(rule: Rule, text: &str, offset: usize) -> Option<Miss> {
    let error = Grammar::parse(rule, text).err()?;
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let positives = match error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        ErrorVariant::CustomError { .. } => Vec::new(),
    };
    let mut expected: Vec<&'static str> = positives.into_iter().filter_map(words).collect();
    expected.sort_unstable_by_key(|words| (words.starts_with("the end"), *words));
    expected.dedup();
    if expected.contains(&"a value") {
        expected.retain(|words| !VALUES.contains(words));
    }
    if expected.len() > 1 {
        // What could go on is of interest only where something must.
        expected.retain(|words| !OPTIONAL.contains(words));
    }
    Some(Miss { at: offset + at, expected })
}

/// Kinds of values.
const VALUES: &[&str] = &["a name", "a number", "a string", "`\"\"\"`"];

const OPTIONAL: &[&str] = &["an operator", "the end", "`@VERSION`"];

/// What stands at `at`, in words, and its span.
pub fn found(text: &str, at: usize) -> (String, Span) {
    let spaces = text[at..].len() - text[at..].trim_start_matches([' ', '\t']).len();
    let (at, rest) = (at + spaces, &text[at + spaces..]);
    let Some(first) = rest.chars().next() else {
        return ("the end of the file".to_owned(), Span::new(at, at));
    };
    if first == '\n' || first == '\r' || rest.starts_with("//") {
        return ("the end of the line".to_owned(), Span::new(at, at));
    }
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let sign = |c: char| "=<>!&".contains(c);
    let run = |same: &dyn Fn(char) -> bool| rest.find(|c| !same(c)).unwrap_or(rest.len());
    let length = match first {
        first if word(first) => run(&word),
        first if sign(first) => run(&sign),
        _ if rest.starts_with("/*") || rest.starts_with("\"\"") => 2,
        first => first.len_utf8(),
    };
    let shown: String = rest[..length].chars().take(40).collect();
    let shown = if first.is_ascii() || first.is_alphanumeric() {
        format!("`{shown}`")
    } else {
        format!("`{shown}`, U+{:04X}", first as u32)
    };
    (shown, Span::new(at, at + length))
}

/// `None` for rules that nobody would name.
fn words(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::EOI => "the end",
        Rule::ident | Rule::name => "a name",
        Rule::path | Rule::slot => "a name",
        Rule::key => "a field",
        Rule::version => "`@VERSION`",
        Rule::digits | Rule::number => "a number",
        Rule::amount => "a number",
        Rule::string => "a string",
        Rule::template => "`\"\"\"`",
        Rule::percent | Rule::glued | Rule::unit | Rule::no_unit | Rule::per | Rule::value_by | Rule::mark => {
            return None;
        }
        Rule::expr
        | Rule::value
        | Rule::quantity
        | Rule::boolean
        | Rule::apply
        | Rule::group
        | Rule::list
        | Rule::cases => "a value",
        Rule::close_round => "`)`",
        Rule::close_square => "`]`",
        Rule::close_brace => "`}`",
        Rule::arrow => "`=>`",
        Rule::close_hole => "`}}`",
        Rule::close_directive => "`%}`",
        Rule::pipe => "`|`",
        Rule::case | Rule::otherwise => "a case",
        Rule::not | Rule::negative => return None,
        Rule::or
        | Rule::and
        | Rule::compare
        | Rule::range
        | Rule::add
        | Rule::subtract
        | Rule::multiply
        | Rule::divide
        | Rule::known
        | Rule::absent
        | Rule::stalls
        | Rule::stalls_by
        | Rule::stalls_since => "an operator",
        Rule::arguments | Rule::argument => return None,
        Rule::block
        | Rule::prompt_body
        | Rule::experiment_body
        | Rule::matrix_body
        | Rule::statements
        | Rule::report_body => "`{`",
        Rule::assign => "`=`",
        Rule::colon => "`:`",
        Rule::type_expr | Rule::type_name => "a type",
        Rule::optional | Rule::type_in | Rule::type_limit | Rule::type_by | Rule::visible | Rule::type_of => {
            return None;
        }
        Rule::audience => "`agent`, `critic` or `none`",
        Rule::item
        | Rule::edition
        | Rule::import
        | Rule::param
        | Rule::constant
        | Rule::declaration
        | Rule::declared
        | Rule::prompt
        | Rule::rule_item
        | Rule::experiment
        | Rule::matrix => "an item",
        Rule::unstable => "`unstable(…)`",
        Rule::import_as => "`as NAME`",
        Rule::import_names => "`{ NAMES }`",
        Rule::parameters => "`(`",
        Rule::parameter => "a parameter",
        Rule::message => "`system \"\"\"` or `user \"\"\"`",
        Rule::stage
        | Rule::where_stage
        | Rule::top
        | Rule::best
        | Rule::worst
        | Rule::sample
        | Rule::dedup
        | Rule::majority
        | Rule::cap
        | Rule::balance
        | Rule::add_data
        | Rule::pair
        | Rule::truncate
        | Rule::weight
        | Rule::require => "a stage",
        Rule::cap_tokens => return None,
        Rule::max_part => "`max N`",
        Rule::margin => "`margin at least N`",
        Rule::at_least => "`at least N`",
        Rule::require_else => "`else stop|skip|fail`",
        Rule::per_task => "`per task`",
        Rule::task_word => "`task`",
        Rule::by_keys => "`by COLUMN`",
        Rule::schedule => "`schedule`",
        Rule::report => "`report`",
        Rule::report_line | Rule::report_word => "`plot` or `table`",
        Rule::report_by => "`by INDEX`",
        Rule::axis => "`PATH in [ … ]`",
        Rule::zip => "`zip`",
        Rule::except => "`except`",
        Rule::let_head => "`let NAME =`",
        Rule::statement
        | Rule::rollout
        | Rule::judge
        | Rule::select
        | Rule::audit
        | Rule::calibrate
        | Rule::train
        | Rule::evaluate
        | Rule::repeat
        | Rule::pick => "a statement",
        Rule::in_split => "`in ENV.SPLIT`",
        Rule::with_name => "`with NAME`",
        Rule::by_rule => "`by RULE`",
        Rule::against => "`against METRIC`",
        Rule::on_name => "`on NAME`",
        Rule::mixed => "`mixed with P% DATASET`",
        Rule::through => "`through CRITIC`",
        Rule::from_version => "`from @VERSION`",
        Rule::reference => "`reference @VERSION`",
        Rule::repeat_head | Rule::broken_head => "`repeat N times`",
        Rule::times => "`times`",
        Rule::repeat_as => "`as NAME`",
        Rule::until => "`until CONDITION`",
        Rule::pick_by => "`best by METRIC`",
        Rule::including => "`including NAME`",
        Rule::piped => "a path",
        Rule::filter => "a filter",
        Rule::for_each | Rule::if_known | Rule::end => "`for x in list`, `if path is known` or `end`",
        Rule::interpolation | Rule::directive => "`{{ … }}`",
        Rule::file
        | Rule::s
        | Rule::w
        | Rule::comment
        | Rule::b
        | Rule::reserved
        | Rule::string_text
        | Rule::infix_part
        | Rule::prefix
        | Rule::infix
        | Rule::postfix
        | Rule::primary
        | Rule::block_end
        | Rule::unclosed
        | Rule::comma
        | Rule::entry
        | Rule::field
        | Rule::field_core
        | Rule::tail
        | Rule::next_key
        | Rule::item_tail
        | Rule::joint
        | Rule::extra_pipe
        | Rule::no_stage
        | Rule::lost_pipe
        | Rule::lost_assign
        | Rule::stage_word
        | Rule::lost_schedule
        | Rule::lost_report
        | Rule::bare_statements
        | Rule::bare_report
        | Rule::statement_start
        | Rule::report_start
        | Rule::report_tail
        | Rule::broken_line
        | Rule::line_part
        | Rule::lost_loop
        | Rule::operation_word
        | Rule::broken_entry
        | Rule::stray
        | Rule::loose_part
        | Rule::braces
        | Rule::rounds
        | Rule::raw_template
        | Rule::item_start
        | Rule::report_line_core
        | Rule::broken_item
        | Rule::item_word
        | Rule::item_part
        | Rule::any_stage
        | Rule::stage_core
        | Rule::stage_tail
        | Rule::broken_stage
        | Rule::stage_part
        | Rule::statement_tail
        | Rule::broken_statement
        | Rule::operation
        | Rule::clause
        | Rule::clause_word
        | Rule::statement_word
        | Rule::template_end
        | Rule::text
        | Rule::broken_piece
        | Rule::only_item
        | Rule::only_field
        | Rule::only_message
        | Rule::only_report
        | Rule::only_axis
        | Rule::only_stage
        | Rule::only_statement
        | Rule::only_head
        | Rule::only_piece
        | Rule::only_value => return None,
    })
}
