//! Which pieces end now. Pure: plain values in, a choice out.

/// How long a piece waits for requests that began in its hour.
pub(super) const GRACE_S: i64 = 30;

/// When a piece ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Bytes.
    pub(super) bytes_max: u64,
    /// Seconds from its beginning.
    pub(super) age_max_s: i64,
    /// Pieces that are added to at a time.
    pub(super) open_max: usize,
}

/// What is known of a piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) hour: i64,
    pub(super) begun_s: i64,
    pub(super) used_s: i64,
    pub(super) bytes: u64,
}

/// The first second of the hour that a time lies in.
pub(super) fn hour_of(at_s: i64) -> i64 {
    at_s - at_s.rem_euclid(3600)
}

/// Which of the pieces end at `now_s`: those whose hour is over, that are large or old enough, and,
/// of too many, those that were added to least recently.
pub(super) fn ended(pieces: &[State], now_s: i64, rules: Rules) -> Vec<usize> {
    let over = |piece: &State| {
        now_s >= piece.hour.saturating_add(3600 + GRACE_S)
            || piece.bytes >= rules.bytes_max
            || now_s.saturating_sub(piece.begun_s) >= rules.age_max_s
    };
    let (mut ended, mut going): (Vec<usize>, Vec<usize>) =
        (0..pieces.len()).partition(|n| over(&pieces[*n]));
    let surplus = going.len().saturating_sub(rules.open_max);
    going.sort_by_key(|n| pieces[*n].used_s);
    ended.extend(going.into_iter().take(surplus));
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { bytes_max: 1000, age_max_s: 3600, open_max: 2 };
    const HOUR: i64 = 1_767_322_800;

    fn piece(begun_s: i64, used_s: i64, bytes: u64) -> State {
        State { hour: hour_of(begun_s), begun_s, used_s, bytes }
    }

    #[test]
    fn hours_begin_at_zero_minutes() {
        assert_eq!(hour_of(HOUR + 3599), HOUR);
        assert_eq!(hour_of(-1), -3600);
    }

    #[test]
    fn a_piece_ends_with_its_hour_its_size_or_its_age() {
        let ended = |piece, now_s| !ended(&[piece], now_s, RULES).is_empty();
        let plain = piece(HOUR + 1800, HOUR + 1800, 10);
        assert!(!ended(plain, HOUR + 3599 + GRACE_S));
        assert!(ended(plain, HOUR + 3600 + GRACE_S), "its hour is over");
        assert!(ended(piece(HOUR, HOUR, 1000), HOUR), "it is large");
        let (young, old) = (State { begun_s: HOUR - 60, ..plain }, HOUR - 60 + 3600);
        assert!(!ended(young, old - 1) && ended(young, old), "it is old");
        assert!(!ended(plain, HOUR - 86_400), "a clock that was set back ends nothing");
    }

    #[test]
    fn of_too_many_the_least_recently_used_ends() {
        let pieces = [piece(HOUR, HOUR + 9, 1), piece(HOUR, HOUR + 2, 1), piece(HOUR, HOUR + 5, 1)];
        assert_eq!(ended(&pieces, HOUR + 10, RULES), [1]);
        assert_eq!(ended(&pieces[..2], HOUR + 10, RULES), [0; 0]);
    }
}
