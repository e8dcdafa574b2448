//! Wildcards: `*` is any run of characters including none, `?` exactly one.
//!
//! A pattern is cut at its stars into pieces. The first and the last piece are tied to the ends of
//! the text; each piece between is looked for from where the one before it ended, leftmost, which
//! leaves the most for those that follow. So nothing is ever tried twice:
//!
//! ```text
//! ab*c?d*e      first "ab"   floating "c?d"   last "e"
//! ```
//!
//! Finding a literal piece is linear (the standard library's two-way search). A piece with `?` is
//! found by a bit-parallel automaton in text length times a 64th of the piece's length.

/// A pattern with `*` and `?`; nothing else is special.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob {
    text: Box<str>,
    shape: Shape,
}

/// What kind of work a match is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Shape {
    /// `*`.
    Any,
    /// No wildcard.
    Literal,
    /// A literal and one star behind it.
    Prefix,
    /// What stands between the stars; one piece where there is no star.
    Pieces(Box<[Piece]>),
}

/// A part of a pattern without stars.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Piece {
    text: Box<str>,
    has_wild: bool,
}

impl Glob {
    /// A pattern.
    pub fn new(pattern: &str) -> Self {
        Self { text: pattern.into(), shape: shape(pattern) }
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern has no wildcard.
    pub fn is_literal(&self) -> bool {
        matches!(self.shape, Shape::Literal)
    }

    /// Whether every text matches by the looks of it: `*`, or several of them.
    pub fn is_any(&self) -> bool {
        matches!(self.shape, Shape::Any)
    }

    /// Whether the whole text matches, with case.
    ///
    /// Time is linear in pattern plus text; behind a star, `?` costs text length times a 64th of
    /// the length of its piece.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_counting(text, &mut 0)
    }

    /// Like [`Self::matches`]; adds the steps taken to `steps`.
    pub(crate) fn matches_counting(&self, text: &str, steps: &mut u64) -> bool {
        *steps += 1;
        match &self.shape {
            Shape::Any => true,
            Shape::Literal => *self.text == *text,
            Shape::Prefix => text.starts_with(&self.text[..self.text.len() - 1]),
            Shape::Pieces(pieces) => match_pieces(pieces, text, steps).is_some(),
        }
    }

    /// Whether some text that starts with `prefix` matches.
    pub fn matches_some_from(&self, prefix: &str) -> bool {
        let (head, has_star) = (self.head(), self.text.contains('*'));
        let mut wanted = head.chars();
        for got in prefix.chars() {
            match wanted.next() {
                None => return has_star,
                Some(c) if c == '?' || c == got => {}
                Some(_) => return false,
            }
        }
        true
    }

    /// Whether every text that starts with `prefix` matches; may miss patterns that do not end in
    /// a star.
    pub fn matches_all_from(&self, prefix: &str) -> bool {
        // What the closing star leaves off lies inside `prefix`, so it takes any continuation.
        self.text.ends_with('*') && self.matches(prefix)
    }

    /// What stands before the first star.
    fn head(&self) -> &str {
        self.text.split_once('*').map_or(&self.text, |(head, _)| head)
    }
}

fn shape(pattern: &str) -> Shape {
    let stars = pattern.bytes().filter(|b| *b == b'*').count();
    let has_wild = pattern.contains('?');
    match stars {
        0 if !has_wild => Shape::Literal,
        1 if !has_wild && pattern.len() > 1 && pattern.ends_with('*') => Shape::Prefix,
        _ if !pattern.is_empty() && stars == pattern.len() => Shape::Any,
        _ => Shape::Pieces(pieces(pattern)),
    }
}

/// The parts between stars; empty ones only at the two ends.
fn pieces(pattern: &str) -> Box<[Piece]> {
    let parts: Vec<&str> = pattern.split('*').collect();
    let last = parts.len() - 1;
    let kept = parts.iter().enumerate().filter(|(at, part)| {
        let is_end = *at == 0 || *at == last;
        is_end || !part.is_empty()
    });
    kept.map(|(_, part)| Piece { text: (*part).into(), has_wild: part.contains('?') }).collect()
}

fn match_pieces(pieces: &[Piece], text: &str, steps: &mut u64) -> Option<()> {
    *steps += text.len() as u64;
    let (first, others) = pieces.split_first()?;
    let mut rest = first.strip_start(text, steps)?;
    let Some((last, floating)) = others.split_last() else {
        return rest.is_empty().then_some(());
    };
    rest = last.strip_end(rest, steps)?;
    for piece in floating {
        rest = piece.skip_past(rest, steps)?;
    }
    Some(())
}

impl Piece {
    /// The text behind the piece, which must stand at its start.
    fn strip_start<'t>(&self, text: &'t str, steps: &mut u64) -> Option<&'t str> {
        *steps += self.text.len() as u64;
        if !self.has_wild {
            return text.strip_prefix(&*self.text);
        }
        let mut rest = text.chars();
        for wanted in self.text.chars() {
            let got = rest.next()?;
            if wanted != '?' && wanted != got {
                return None;
            }
        }
        Some(rest.as_str())
    }

    /// The text before the piece, which must stand at its end.
    fn strip_end<'t>(&self, text: &'t str, steps: &mut u64) -> Option<&'t str> {
        *steps += self.text.len() as u64;
        if !self.has_wild {
            return text.strip_suffix(&*self.text);
        }
        let mut rest = text.chars();
        for wanted in self.text.chars().rev() {
            let got = rest.next_back()?;
            if wanted != '?' && wanted != got {
                return None;
            }
        }
        Some(rest.as_str())
    }

    /// The text behind the piece's leftmost place in it.
    fn skip_past<'t>(&self, text: &'t str, steps: &mut u64) -> Option<&'t str> {
        if self.has_wild {
            return Automaton::new(&self.text, steps).skip_past(text, steps);
        }
        let at = find(text, &self.text);
        let end = at.map_or(text.len(), |at| at + self.text.len());
        *steps += (self.text.len() + end) as u64;
        at.map(|_| &text[end..])
    }
}

/// Where `piece` stands in `text`. In a short text, such as a resource name, comparing everywhere
/// costs less than preparing the linear search.
fn find(text: &str, piece: &str) -> Option<usize> {
    const SHORT_BYTES: usize = 128;
    if text.len() > SHORT_BYTES || piece.is_empty() {
        return text.find(piece);
    }
    text.as_bytes().windows(piece.len()).position(|window| window == piece.as_bytes())
}

/// Shift-And (Baeza-Yates and Gonnet, 1992): bit `i` of the state says that the piece's first
/// `i + 1` characters end at the current character of the text.
struct Automaton {
    /// Distinct characters of the piece, sorted.
    alphabet: Vec<char>,
    /// A row of `words` per character of the alphabet, then one for all others: bit `i` says that
    /// the character fits at place `i`.
    rows: Vec<u64>,
    words: usize,
    last_bit: (usize, u64),
}

impl Automaton {
    fn new(piece: &str, steps: &mut u64) -> Self {
        let places: Vec<char> = piece.chars().collect();
        let mut alphabet: Vec<char> = places.iter().copied().filter(|c| *c != '?').collect();
        alphabet.sort_unstable();
        alphabet.dedup();
        let words = places.len().div_ceil(64);
        let mut rows = vec![0u64; (alphabet.len() + 1) * words];
        for (place, c) in places.iter().enumerate() {
            let (word, bit) = (place / 64, 1u64 << (place % 64));
            match alphabet.binary_search(c) {
                Ok(row) => rows[row * words + word] |= bit,
                Err(_) => rows.iter_mut().skip(word).step_by(words).for_each(|w| *w |= bit),
            }
        }
        *steps += (places.len() + rows.len()) as u64;
        let last = places.len() - 1;
        Self { alphabet, rows, words, last_bit: (last / 64, 1 << (last % 64)) }
    }

    fn skip_past<'t>(&self, text: &'t str, steps: &mut u64) -> Option<&'t str> {
        let mut state = vec![0u64; self.words];
        for (at, c) in text.char_indices() {
            *steps += self.words as u64;
            let row = self.alphabet.binary_search(&c).unwrap_or(self.alphabet.len());
            let fits = &self.rows[row * self.words..][..self.words];
            let mut carry = 1;
            for (word, fit) in state.iter_mut().zip(fits) {
                let next = *word >> 63;
                *word = (*word << 1 | carry) & fit;
                carry = next;
            }
            if state[self.last_bit.0] & self.last_bit.1 != 0 {
                return Some(&text[at + c.len_utf8()..]);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
            Some(('?', rest)) => !text.is_empty() && naive(rest, &text[1..]),
            Some((c, rest)) => text.first() == Some(c) && naive(rest, &text[1..]),
        }
    }

    fn agrees(pattern: &str, text: &str) -> bool {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        Glob::new(pattern).matches(text) == naive(&chars(pattern), &chars(text))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn agrees_with_a_naive_matcher(pattern in "[ab*?é]{0,9}", text in "[abé]{0,12}") {
            prop_assert!(agrees(&pattern, &text));
        }

        #[test]
        fn continuations(pattern in "[ab*?/]{0,6}", prefix in "[ab/]{0,3}", rest in "[ab/]{0,4}") {
            let glob = Glob::new(&pattern);
            let whole = format!("{prefix}{rest}");
            if glob.matches(&whole) {
                prop_assert!(glob.matches_some_from(&prefix));
            } else {
                prop_assert!(!glob.matches_all_from(&prefix));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn long_pieces_agree_with_a_naive_matcher(
            piece in "[a?]{60,140}", text in "a{50,150}b?a{0,90}",
        ) {
            let patterns = [format!("*{piece}*"), format!("a*{piece}")];
            for pattern in &patterns {
                prop_assert!(agrees(pattern, &text), "{} {}", pattern, text);
            }
        }
    }

    /// Steps per byte of pattern and text stay below a small constant, whatever the pattern.
    #[test]
    fn hostile_patterns_take_linear_steps() {
        let texts = ["a".repeat(8000), "ab".repeat(4000), "a".repeat(7999) + "b"];
        let patterns = [
            "*".repeat(4095),
            "a*".repeat(2047) + "c",
            "*a*b".repeat(1000) + "c",
            "ab*".repeat(1300) + "c",
            "*".to_owned() + &"a".repeat(4000) + "c*",
            "*a?*".repeat(1000) + "c",
            "?*".repeat(2000),
        ];
        for pattern in &patterns {
            for text in &texts {
                let mut steps = 0;
                Glob::new(pattern).matches_counting(text, &mut steps);
                let bytes = (pattern.len() + text.len()) as u64;
                assert!(steps <= 8 * bytes, "{steps} steps for {bytes} bytes: {:.20}", pattern);
            }
        }
        // A long piece with `?` costs its length over 64 for each character.
        let piece = "*".to_owned() + &"a?".repeat(2000) + "c*";
        let mut steps = 0;
        Glob::new(&piece).matches_counting(&texts[0], &mut steps);
        assert!(steps <= 8000 * (4001 / 64 + 1) + 8 * 12_000, "{steps}");
    }

    #[test]
    fn ends_are_tied() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("?", "é", true),
            ("*?", "", false),
            ("b/*", "b/i/*", true),
            ("*/*", "b", false),
            ("**", "", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }
}
