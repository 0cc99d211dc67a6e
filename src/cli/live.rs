//! Turns events into the live view: a bar a node under way where there is a terminal, else a line a node when it ends.
//!
//! # Invariants
//! The view decides nothing: it draws what [`Live`] folded.

use crate::cli::terminal::Terminal;
use crate::report::human::mark;
use crate::report::live::{Line, Live};
use crate::report::status_word;
use crate::report::text::{clip, count, counted, duration, painted, plain};
use crate::run::{NodeStatus, RunEvent};
use anstyle::Style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Without a terminal, a node that takes longer says so this often.
const SIGN_OF_LIFE: f64 = 60.0;
/// Drawing oftener than this costs more than it shows.
const REDRAW: f64 = 0.1;
/// Narrower terminals have no room for a bar beside its figures.
const ROOM_FOR_BARS: usize = 70;

/// Where the bars are, when there is a terminal; whoever speaks does it through here, so that no bar is left behind.
#[derive(Clone)]
pub struct Screen {
    terminal: Terminal,
    bars: Option<MultiProgress>,
}

impl Screen {
    pub fn new(terminal: Terminal) -> Self {
        let draw = || MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { terminal, bars: terminal.is_live().then(draw) }
    }

    /// Says a word without breaking the bars.
    pub fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| self.terminal.say(text)),
            None => self.terminal.say(text),
        }
    }

    /// One more bar, where there is a terminal.
    pub fn bar(&self, name: &str, length: u64) -> Option<ProgressBar> {
        let wide = "  {spinner} {prefix:18} {bar:18.cyan/dim} {msg}";
        let template = if self.is_wide() { wide } else { "{spinner} {prefix} {msg}" };
        let style = ProgressStyle::with_template(template).expect("the template is well-formed").progress_chars("━━─");
        let bar = self.bars.as_ref()?.add(ProgressBar::new(length).with_style(style));
        bar.set_prefix(plain(name));
        bar.enable_steady_tick(Duration::from_millis(200));
        Some(bar)
    }

    /// A bar with its figures beside it. They are cut by hand, a few columns short: where a line fills the terminal, the `^C` that
    /// it echoes begins another, and the bar stays behind.
    pub fn draw(&self, bar: &ProgressBar, done: u64, length: u64, figures: &str) {
        bar.set_length(length);
        bar.set_position(done);
        let name = bar.prefix().chars().count();
        let used = if self.is_wide() { 5 + name.max(18) + 1 + 18 } else { 3 + name };
        let room = self.terminal.columns().saturating_sub(used + 3);
        bar.set_message(if room > 1 { clip(figures, room) } else { String::new() });
    }

    pub fn end(&self, bar: &ProgressBar) {
        bar.finish_and_clear();
        if let Some(bars) = &self.bars {
            bars.remove(bar);
        }
    }

    /// Seconds between two looks at what is under way.
    pub fn gap(&self) -> f64 {
        if self.bars.is_some() { REDRAW } else { SIGN_OF_LIFE }
    }

    fn is_wide(&self) -> bool {
        self.terminal.columns() >= ROOM_FOR_BARS
    }

    /// Takes the bars away.
    pub fn clear(&self) {
        if let Some(bars) = &self.bars {
            // Where stderr is gone there is nothing to clear.
            let _ = bars.clear();
        }
    }
}

pub struct View {
    screen: Screen,
    live: Live,
    begun: Instant,
    /// Of nodes under way, where there is a terminal.
    bars: BTreeMap<String, ProgressBar>,
    /// When a line was last drawn or said.
    told: BTreeMap<String, f64>,
    /// Nodes that never began, by why: told together at the end.
    left_out: BTreeMap<&'static str, usize>,
}

impl View {
    #[expect(clippy::disallowed_methods, reason = "the edge reads the clock")]
    pub fn new(screen: Screen) -> Self {
        Self {
            screen,
            live: Live::default(),
            begun: Instant::now(),
            bars: BTreeMap::new(),
            told: BTreeMap::new(),
            left_out: BTreeMap::new(),
        }
    }

    pub fn show(&mut self, event: &RunEvent) {
        self.show_at(event, self.begun.elapsed().as_secs_f64());
    }

    /// As it happened at so many seconds of the run: for events that are read and not heard.
    pub fn show_at(&mut self, event: &RunEvent, now: f64) {
        match event {
            RunEvent::RunStarted { run, experiment, nodes, .. } => {
                let nodes = counted(nodes.len(), "node");
                self.line(&format!("{} · run {} · {nodes}", plain(experiment), plain(run)));
            }
            RunEvent::RunResumed { run } => self.line(&format!("run {} goes on", plain(run))),
            RunEvent::DamageFound { what } => self.line(&plain(what)),
            RunEvent::RunFinished { .. } | RunEvent::RunPaused { .. } => self.tell_left_out(),
            _ => {}
        }
        let Some(index) = self.live.apply(event, now) else { return };
        let line = self.live.lines[index].clone();
        if matches!(line.status, NodeStatus::Blocked | NodeStatus::Skipped) {
            *self.left_out.entry(status_word(line.status)).or_default() += 1;
        } else if line.is_over() {
            self.end(&line, now);
        } else if self.is_due(&line, now) {
            self.draw(&line, now);
        }
    }

    fn tell_left_out(&mut self) {
        for (status, nodes) in std::mem::take(&mut self.left_out) {
            self.line(&format!("  · {} {status}", counted(nodes, "node")));
        }
    }

    fn line(&self, text: &str) {
        self.screen.say(text);
    }

    fn is_due(&mut self, line: &Line, now: f64) -> bool {
        let gap = self.screen.gap();
        let first = if self.screen.bars.is_some() { -gap } else { now };
        let last = self.told.entry(line.node.clone()).or_insert(first);
        let due = now - *last >= gap;
        if due {
            *last = now;
        }
        due
    }

    fn draw(&mut self, line: &Line, now: f64) {
        let figures = under_way(line, now);
        let known = self.bars.get(&line.node).cloned();
        let Some(bar) = known.or_else(|| self.screen.bar(&line.node, line.total)) else {
            self.screen.say(&format!("    {:18} {figures}", plain(&line.node)));
            return;
        };
        self.screen.draw(&bar, line.done, line.total, &figures);
        self.bars.insert(line.node.clone(), bar);
    }

    fn end(&mut self, line: &Line, now: f64) {
        if let Some(bar) = self.bars.remove(&line.node) {
            self.screen.end(&bar);
        }
        let (sign, style) = mark(line.status);
        let sign = painted(sign, style);
        self.line(&format!("  {sign} {:18} {}", plain(&line.node), result(line, now)));
    }
}

/// However the run ended, no bar stays.
impl Drop for View {
    fn drop(&mut self) {
        self.bars.values().for_each(ProgressBar::finish_and_clear);
        self.screen.clear();
    }
}

/// `412/768 · 18.2/s · 20 s left · success 0.41`
fn under_way(line: &Line, now: f64) -> String {
    let mut parts = vec![format!("{}/{}", count(line.done), count(line.total))];
    if let Some(rate) = line.rate() {
        parts.push(if rate >= 10.0 { format!("{rate:.0}/s") } else { format!("{rate:.1}/s") });
    }
    if let Some(left) = line.eta(now) {
        parts.push(format!("{} left", duration(left)));
    }
    if line.failed > 0 {
        parts.push(format!("{} failed", count(line.failed)));
    }
    parts.push(plain(&line.note));
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

/// `768 items · 42 s · success 0.41`
fn result(line: &Line, now: f64) -> String {
    let mut parts = Vec::new();
    match line.status {
        NodeStatus::Cached => parts.push("cached".to_owned()),
        NodeStatus::Done => {
            if line.total > 1 {
                parts.push(format!("{} items", count(line.total)));
            }
            if line.cached > 0 {
                parts.push(format!("{} cached", count(line.cached)));
            }
            parts.push(duration(line.elapsed(now)));
        }
        status => parts.push(status_word(status).to_owned()),
    }
    if line.failed > 0 {
        let word = if line.status == NodeStatus::Done { "missing" } else { "failed" };
        parts.push(format!("{} {word}", count(line.failed)));
    }
    // Why it failed is told once, at the end of the run.
    if !line.note.is_empty() && line.status != NodeStatus::Failed {
        parts.push(painted(&plain(&line.note), Style::new().dimmed()));
    }
    parts.join(" · ")
}
