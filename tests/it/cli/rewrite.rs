//! `agx fmt` and `agx fix` from outside.

use super::Desk;
use std::io::Write;
use std::process::{Output, Stdio};

const UNTIDY: &str = "agx   2026\nlet a=1 // one\n";
const TIDY: &str = "agx 2026\nlet a = 1  // one\n";
const BROKEN: &str = "agx 2026\nenv desk {\n";
const TABS: &str = "agx 2026\n\nenv desk {\n\tuse = builtin(\"desk\")\n\tmax_steps = 6\n}\n";

fn pipe(desk: &Desk, args: &[&str], text: &str) -> Output {
    let mut command = desk.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn read(desk: &Desk, name: &str) -> String {
    std::fs::read_to_string(desk.path().join(name)).unwrap()
}

#[test]
fn fmt_writes_what_changes_and_refuses_what_is_wrong() {
    let desk = Desk::new();
    desk.write("untidy.agx", UNTIDY).write("tidy.agx", TIDY).write("broken.agx", BROKEN);
    insta::assert_snapshot!("cli_fmt_check", desk.agx(&["fmt", "--check", "untidy.agx", "tidy.agx"]));
    assert_eq!(read(&desk, "untidy.agx"), UNTIDY, "a check writes nothing");
    insta::assert_snapshot!("cli_fmt", desk.agx(&["fmt", "untidy.agx", "tidy.agx", "broken.agx", "missing.agx"]));
    assert_eq!(read(&desk, "untidy.agx"), TIDY);
    assert_eq!(read(&desk, "broken.agx"), BROKEN);
    assert_eq!(desk.code(&["fmt", "--check", "untidy.agx", "tidy.agx"]), Some(0));
}

#[test]
fn fmt_tells_programs_one_object_a_file() {
    let desk = Desk::new();
    desk.write("untidy.agx", UNTIDY).write("tidy.agx", TIDY).write("broken.agx", BROKEN);
    let files = ["untidy.agx", "tidy.agx", "broken.agx"];
    let output = desk.command(&[&["fmt", "--check", "--format", "json"], &files[..]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let values: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values.iter().map(|it| it["file"].as_str().unwrap()).collect::<Vec<_>>(), files);
    assert_eq!(values.iter().map(|it| it["changed"].as_bool().unwrap()).collect::<Vec<_>>(), [true, false, false]);
    assert!(values[0]["diff"].as_str().unwrap().contains("\n+let a = 1  // one\n"));
    assert_eq!(values[2]["diagnostics"][0]["code"], "E0104");
}

#[test]
fn fmt_and_fix_take_a_pipe() {
    let desk = Desk::new();
    for args in [&["fmt"][..], &["fmt", "-"]] {
        let output = pipe(&desk, args, UNTIDY);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), TIDY);
        assert_eq!(output.status.code(), Some(0));
    }
    let refused = pipe(&desk, &["fmt"], BROKEN);
    assert_eq!((refused.stdout.len(), refused.status.code()), (0, Some(1)));
    let mended = pipe(&desk, &["fix"], TABS);
    assert!(String::from_utf8(mended.stdout).unwrap().contains("\n  use = builtin"));
    assert_eq!(std::fs::read_dir(desk.path()).unwrap().count(), 0, "nothing is written");
}

#[cfg(unix)]
#[test]
fn a_file_keeps_its_permissions_and_a_link_stays_one() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    desk.write("a.agx", UNTIDY);
    let mode = |name: &str| std::fs::symlink_metadata(desk.path().join(name)).unwrap().permissions().mode() & 0o777;
    std::fs::set_permissions(desk.path().join("a.agx"), PermissionsExt::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("a.agx", desk.path().join("link.agx")).unwrap();
    assert_eq!(desk.code(&["fmt", "link.agx"]), Some(0));
    assert_eq!((read(&desk, "a.agx").as_str(), mode("a.agx")), (TIDY, 0o640));
    assert!(desk.path().join("link.agx").is_symlink());
    desk.write("fixed.agx", UNTIDY);
    std::fs::set_permissions(desk.path().join("fixed.agx"), PermissionsExt::from_mode(0o440)).unwrap();
    let said = desk.agx(&["fmt", "fixed.agx"]);
    assert!(said.contains("fixed.agx cannot be written: permission denied"), "{said}");
    assert_eq!(read(&desk, "fixed.agx"), UNTIDY);
}

#[test]
fn fix_mends_tells_what_it_mended_and_what_is_left() {
    let desk = Desk::new();
    let wrong = "agx 2026\n\nenv desk {\n\tuse = builtin(\"desk\"), max_stepz = 6\n}\n\nmodel m { weights = path(\".\"), context = 512 }\n";
    desk.write("wrong.agx", wrong);
    insta::assert_snapshot!("cli_fix_diff", desk.agx(&["fix", "--diff", "wrong.agx"]));
    assert_eq!(read(&desk, "wrong.agx"), wrong);
    assert_eq!(desk.code(&["fix", "--code", "e0302", "wrong.agx"]), Some(1));
    assert_eq!(read(&desk, "wrong.agx"), wrong.replace("512 }", "512 tokens }"));
    insta::assert_snapshot!("cli_fix", desk.agx(&["fix", "wrong.agx"]));
    insta::assert_snapshot!("cli_fix_unknown_code", desk.agx(&["fix", "--code", "E0032", "wrong.agx"]));
    let json = desk.command(&["fix", "wrong.agx", "--format", "json"]).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((value["changed"].as_bool(), value["mended"].as_array().map(Vec::len)), (Some(false), Some(0)));
}
