//! Turns measured versions into the best one.

/// The index of the highest value, ties to the earliest; what was not measured cannot win. `None` when nothing was.
pub fn best(values: &[Option<f64>]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value.filter(|value| !value.is_nan()) else { continue };
        if best.is_none_or(|(_, highest)| value > highest) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}
