//! Wildcards: `*` is any run of characters including none, `?` exactly one.

use std::str::Chars;

/// A pattern with `*` and `?`; nothing else is special.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// A pattern.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern has a wildcard.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Whether the whole text matches, with case.
    ///
    /// Only the last `*` is ever retried: an earlier one cannot help where a later one failed. So
    /// time is at most pattern length times text length, and nothing is allocated.
    pub fn matches(&self, text: &str) -> bool {
        let (mut pattern, mut text) = (self.0.chars(), text.chars());
        // Pattern after the last `*`, and the text from which it was last tried.
        let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
        loop {
            let (mut next_pattern, mut next_text) = (pattern.clone(), text.clone());
            match (next_pattern.next(), next_text.next()) {
                (Some('*'), _) => {
                    pattern = next_pattern.clone();
                    star = Some((next_pattern, text.clone()));
                }
                (None, None) => return true,
                (Some(p), Some(t)) if p == '?' || p == t => {
                    (pattern, text) = (next_pattern, next_text);
                }
                _ => {
                    let Some((after, from)) = &mut star else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    (pattern, text) = (after.clone(), from.clone());
                }
            }
        }
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

    proptest! {
        #[test]
        fn agrees_with_a_naive_matcher(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(Glob::new(&pattern).matches(&text), naive(&chars(&pattern), &chars(&text)));
        }
    }

    #[test]
    fn long_hostile_patterns_end() {
        let pattern = "a*".repeat(2000) + "b";
        assert!(!Glob::new(&pattern).matches(&"a".repeat(4000)));
    }
}
