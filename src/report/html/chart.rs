//! Turns curves into an inline SVG: lines, bands, direct labels. Colours come from the page's style sheet by class.
//!
//! # Invariants
//! No script and no outside font; each point carries its figures as a `<title>`, so pointing at it tells them.

use crate::report::figures::{Curve, Point, RocPoint, iterations};
use crate::report::human::iteration_word;
use crate::report::text::{figure, number, plain};
use maud::{Markup, html};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 52.0;
/// Room for the labels at the lines' ends.
const RIGHT: f64 = 150.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;
/// Closer labels would touch.
const LABEL_GAP: f64 = 16.0;

struct Scale {
    low: f64,
    high: f64,
    steps: Vec<u32>,
}

impl Scale {
    fn of(curves: &[&Curve]) -> Self {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let ends = |point: &Point| point.metric.interval().unwrap_or((point.metric.value, point.metric.value));
        let low = points().map(|point| ends(point).0).fold(f64::INFINITY, f64::min);
        let high = points().map(|point| ends(point).1).fold(f64::NEG_INFINITY, f64::max);
        let shares = curves.iter().all(|curve| curve.is_ratio());
        // A flat line still needs a scale to lie in.
        let flat = if high - low < 1e-9 * high.abs().max(1.0) { (high.abs() * 0.1).max(0.05) } else { 0.0 };
        let (low, high) = (low - flat, high + flat);
        let step = step(high - low);
        let low = (low / step).floor() * step;
        let high = (high / step).ceil().max(low / step + 2.0) * step;
        let owned: Vec<Curve> = curves.iter().map(|curve| (*curve).clone()).collect();
        Self {
            low: if shares { low.max(0.0) } else { low },
            high: if shares { high.min(1.0) } else { high },
            steps: iterations(&owned),
        }
    }

    fn x(&self, iteration: u32) -> f64 {
        let at = self.steps.iter().position(|step| *step == iteration).unwrap_or(0) as f64;
        let gaps = (self.steps.len().max(2) - 1) as f64;
        LEFT + at / gaps * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn ticks(&self) -> Vec<f64> {
        let step = step(self.high - self.low);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|tick| tick as f64 * step).collect()
    }
}

/// A round distance between grid lines, so that about five fit.
fn step(range: f64) -> f64 {
    const ROUND: [f64; 10] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
    let wanted = range / 5.0;
    let mut scale = 1.0;
    while wanted > 10.0 * scale && scale < 1e15 {
        scale *= 10.0;
    }
    ROUND.iter().map(|round| round * scale).find(|step| *step >= wanted).unwrap_or(10.0 * scale)
}

fn tick_text(value: f64) -> String {
    if value.abs() >= 10.0 && (value - value.round()).abs() < 1e-6 {
        return number(value.round());
    }
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// `winner`: the iteration whose point of the first curve is ringed.
pub fn lines(curves: &[&Curve], winner: Option<u32>) -> Markup {
    let finite = |curve: &&&Curve| curve.points.iter().all(|point| point.metric.value.is_finite());
    let curves: Vec<&Curve> = curves.iter().filter(finite).copied().collect();
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return html! {};
    }
    let scale = Scale::of(&curves);
    let names: Vec<String> = curves.iter().map(|curve| plain(&curve.name)).collect();
    let labels = spread(curves.iter().map(|curve| curve.points.last().map_or(0.0, |last| scale.y(last.metric.value))));
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ (names.join(", ")) " by iteration" } {
            (grid(&scale))
            @for (index, curve) in curves.iter().enumerate() {
                g class={ "series s" (index % 6) } {
                    (band(curve, &scale))
                    polyline points=(path(curve.points.iter().map(|point| (scale.x(point.iteration), scale.y(point.metric.value))))) {}
                    @for point in &curve.points {
                        circle cx=(coordinate(scale.x(point.iteration))) cy=(coordinate(scale.y(point.metric.value))) r="4" {
                            title { (names[index]) ", " (iteration_word(point.iteration)) ": " (figure(&point.metric)) " (n " (point.metric.n) ")" }
                        }
                        @if index == 0 && winner == Some(point.iteration) {
                            circle.ring cx=(coordinate(scale.x(point.iteration))) cy=(coordinate(scale.y(point.metric.value))) r="9" {}
                        }
                    }
                    @if let Some(last) = curve.points.last() {
                        text.label x=(coordinate(scale.x(last.iteration) + 16.0)) y=(coordinate(labels[index] + 4.0)) { (names[index]) }
                    }
                }
            }
        }
    }
}

/// A critic's thresholds: of what is not solved, the share let through, against that of what is.
pub fn roc(points: &[RocPoint]) -> Markup {
    const SIDE: f64 = 180.0;
    const EDGE: f64 = 8.0;
    let place = |x: f64, y: f64| (EDGE + x * SIDE, EDGE + (1.0 - y) * SIDE);
    let at = |point: &RocPoint| place(point.false_positive_rate, point.true_positive_rate);
    html! {
        svg.roc viewBox={ "0 0 " (SIDE + 2.0 * EDGE) " " (SIDE + 2.0 * EDGE) } role="img" aria-label="receiver operating characteristic" {
            g.grid {
                polyline points=(path([(0.0, 1.0), (0.0, 0.0), (1.0, 0.0)].into_iter().map(|(x, y)| place(x, y)))) {}
                polyline.chance points=(path([place(0.0, 0.0), place(1.0, 1.0)].into_iter())) {}
            }
            g.series.s0 {
                polyline points=(path(std::iter::once(place(0.0, 0.0)).chain(points.iter().map(at)))) {}
                @for point in points {
                    @let (x, y) = at(point);
                    circle cx=(coordinate(x)) cy=(coordinate(y)) r="3" {
                        title { "at least " (number(point.at)) ": " (number(point.true_positive_rate)) " of the solved, " (number(point.false_positive_rate)) " of the others" }
                    }
                }
            }
        }
    }
}

/// As a file of its own, for a book or a paper: light and dark by the reader's wish.
pub fn standalone(curves: &[&Curve]) -> String {
    const STYLE: &str = "\
        svg{--paper:#fff;--soft:#666d76;--line:#e5e1d9;--c:#2b6cb0;font:12px system-ui,sans-serif}\
        .s1{--c:#b7672a}.s2{--c:#2f855a}.s3{--c:#805ad5}.s4{--c:#b83280}.s5{--c:#5f6b7a}\
        @media(prefers-color-scheme:dark){svg{--paper:#15171a;--soft:#9aa1aa;--line:#2d3137;--c:#71aef0}\
        .s1{--c:#e5a067}.s2{--c:#6cc498}.s3{--c:#b79df2}.s4{--c:#ec86bd}.s5{--c:#a3aebb}}\
        text{fill:var(--soft)}.grid line{stroke:var(--line)}polyline{fill:none;stroke:var(--c);stroke-width:2.25}\
        circle{fill:var(--c);stroke:var(--paper);stroke-width:1.5}.band{fill:var(--c);opacity:.13}\
        .label{fill:var(--c);font-weight:600}";
    let drawn = lines(curves, None).into_string();
    let namespace = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" ");
    let (head, body) = drawn.split_once('>').unwrap_or((&drawn, ""));
    format!("{}><style>{STYLE}</style>{body}\n", head.replacen("<svg ", &namespace, 1))
}

fn grid(scale: &Scale) -> Markup {
    html! {
        g.grid {
            @for tick in scale.ticks() {
                line x1=(LEFT) x2=(WIDTH - RIGHT) y1=(coordinate(scale.y(tick))) y2=(coordinate(scale.y(tick))) {}
                text x=(LEFT - 10.0) y=(coordinate(scale.y(tick) + 4.0)) text-anchor="end" { (tick_text(tick)) }
            }
            @for step in &scale.steps {
                text x=(coordinate(scale.x(*step))) y=(HEIGHT - 10.0) text-anchor="middle" { (iteration_word(*step)) }
            }
        }
    }
}

/// Upper edge there, lower edge back.
fn band(curve: &Curve, scale: &Scale) -> Markup {
    let edge = |end: fn((f64, f64)) -> f64| {
        let known = curve.points.iter().filter_map(|point| Some((point.iteration, point.metric.interval()?)));
        known.map(|(iteration, ends)| (scale.x(iteration), scale.y(end(ends)))).collect::<Vec<_>>()
    };
    let mut outline = edge(|(_, high)| high);
    if outline.len() < 2 {
        return html! {};
    }
    outline.extend(edge(|(low, _)| low).into_iter().rev());
    html! { polygon.band points=(path(outline.into_iter())) {} }
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    points.map(|(x, y)| format!("{},{}", coordinate(x), coordinate(y))).collect::<Vec<_>>().join(" ")
}

fn coordinate(value: f64) -> String {
    format!("{value:.1}")
}

/// Moves labels that would touch apart, downwards, keeping their order.
fn spread(wanted: impl Iterator<Item = f64>) -> Vec<f64> {
    let wanted: Vec<f64> = wanted.collect();
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut placed = wanted.clone();
    for pair in order.windows(2) {
        placed[pair[1]] = placed[pair[1]].max(placed[pair[0]] + LABEL_GAP);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Metric;

    fn curve(values: &[f64]) -> Curve {
        let point = |(iteration, value): (usize, &f64)| Point {
            iteration: iteration as u32,
            metric: Metric { name: "success".to_owned(), value: *value, n: 64, ci95: Some(0.1) },
            node: String::new(),
        };
        Curve { name: "dev.success".to_owned(), points: values.iter().enumerate().map(point).collect() }
    }

    #[test]
    fn the_scale_holds_every_band_and_no_more_than_a_share() {
        let curve = curve(&[0.4, 0.55, 0.95]);
        let scale = Scale::of(&[&curve]);
        assert!(scale.low <= 0.3 && scale.high == 1.0, "{} {}", scale.low, scale.high);
        assert!((3..=8).contains(&scale.ticks().len()), "{:?}", scale.ticks());
    }

    #[test]
    fn strange_values_draw_nothing_or_something_but_never_fail() {
        for values in [&[][..], &[0.5], &[f64::NAN, 1.0], &[1e18, -1e18], &[0.0, 0.0]] {
            let svg = lines(&[&curve(values)], Some(1)).into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn ticks_are_told_apart() {
        for values in [&[32.0, 32.0][..], &[1.0, 1.0], &[56.4, 67.4], &[0.0, 0.0], &[1200.0, 5300.0]] {
            let curve = curve(values);
            let mut texts: Vec<String> = Scale::of(&[&curve]).ticks().into_iter().map(tick_text).collect();
            let all = texts.len();
            texts.dedup();
            assert!(texts.len() == all && all >= 2, "{values:?}: {texts:?}");
        }
        assert_eq!([60.0, 0.5, 0.0, -0.001].map(tick_text), ["60", "0.5", "0", "0"]);
    }

    #[test]
    fn labels_do_not_touch() {
        assert_eq!(spread([100.0, 98.0, 200.0].into_iter()), [114.0, 98.0, 200.0]);
    }
}
