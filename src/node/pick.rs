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

#[cfg(test)]
mod tests {
    use super::best;

    #[test]
    fn the_highest_wins_and_ties_go_to_the_earliest() {
        assert_eq!(best(&[Some(0.2), Some(0.5), None, Some(0.5)]), Some(1));
        assert_eq!(best(&[None, Some(f64::NAN), Some(-1.0)]), Some(2));
        assert_eq!(best(&[None, Some(f64::NAN)]), None);
        assert_eq!(best(&[]), None);
    }
}
