//! Bearer tokens of the admin API: whoever has one operates the whole store.
//!
//! A token is random and long, so that a plain digest of it may stay in memory in its place and
//! guesses need not be counted. Two are accepted at a time: to rotate, put a new one in front,
//! restart node by node, move clients, take the old one out.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of a token that was made here, and of entropy that any token must have room for.
const BYTES: usize = 32;
/// Fewest characters: as many as 32 bytes have in base64.
const CHARS_MIN: usize = 43;
/// Fewest hexadecimal digits: as many as 32 bytes have.
const DIGITS_MIN: usize = 64;
const CHARS_MAX: usize = 256;
/// Fewest different characters: what has fewer was typed and not drawn. Of 64 random hexadecimal
/// digits fewer than 10 differ once in 10^12 draws.
const DISTINCT_MIN: usize = 10;
/// Tokens at a time.
const TOKENS_MAX: usize = 2;

/// The tokens that are accepted. Holds digests only.
#[derive(Clone, Default)]
pub(crate) struct Tokens(Vec<[u8; 32]>);

/// Which token was used, for logs: the first 8 hexadecimal digits of its SHA-256.
pub(crate) type Fingerprint = Box<str>;

impl Tokens {
    /// Reads one or two tokens, separated by white space or commas; `#` begins a comment.
    ///
    /// # Errors
    /// What is wrong with them; it holds nothing of them.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let entries = lines.flat_map(|line| line.split([' ', '\t', ',', '\r']));
        let entries: Vec<&str> = entries.filter(|entry| !entry.is_empty()).collect();
        if entries.is_empty() || entries.len() > TOKENS_MAX {
            return Err(format!(
                "admin_token: expected one or two tokens, found {}",
                entries.len()
            ));
        }
        let weak = entries.iter().position(|entry| !is_strong(entry));
        if let Some(place) = weak {
            return Err(format!(
                "admin_token: token {} has less than 32 random bytes ({CHARS_MIN} to {CHARS_MAX} \
                 characters of 0-9A-Za-z-._~+/=, or {DIGITS_MIN} hexadecimal digits); `vectorbucket admin token generate` makes one",
                place + 1
            ));
        }
        Ok(Self(entries.into_iter().map(hashed).collect()))
    }

    /// Which token it is, if it is one. The time it takes tells nothing about the tokens.
    pub(crate) fn check(&self, token: &str) -> Option<Fingerprint> {
        if token.len() > CHARS_MAX {
            return None;
        }
        let given = hashed(token);
        let equal = |known: &&[u8; 32]| verify_slices_are_equal(*known, &given).is_ok();
        let matching = self.0.iter().filter(equal).count();
        (matching > 0).then(|| given[..4].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn hashed(token: &str) -> [u8; 32] {
    let hash = digest(&SHA256, token.as_bytes());
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn is_strong(token: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    let mut distinct: Vec<u8> = token.bytes().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let is_hexadecimal = token.bytes().all(|b| b.is_ascii_hexdigit());
    let least = if is_hexadecimal { DIGITS_MIN } else { CHARS_MIN };
    (least..=CHARS_MAX).contains(&token.len())
        && token.bytes().all(allowed)
        && distinct.len() >= DISTINCT_MIN
}

/// A new token. It is a secret.
pub(crate) fn generate_token() -> Box<str> {
    let mut random = [0; BYTES];
    getrandom::fill(&mut random).expect("the operating system has a random source");
    URL_SAFE_NO_PAD.encode(random).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tokens_are_accepted_and_no_other() {
        let (one, two) = (generate_token(), generate_token());
        let tokens = Tokens::parse(&format!("{one} # the newer\n{two}\n")).unwrap();
        assert_eq!(tokens.check(&one).unwrap().len(), 8);
        assert_ne!(tokens.check(&one), tokens.check(&two));
        for wrong in ["", &one[1..], &format!("{one}x"), &generate_token(), &"x".repeat(1 << 20)] {
            assert!(tokens.check(wrong).is_none());
        }
        assert!(Tokens::default().check(&one).is_none() && Tokens::default().check("").is_none());
    }

    #[test]
    fn weak_tokens_are_refused_and_not_shown() {
        let good = generate_token();
        let three = format!("{good},{good},{good}");
        let long = "abcdefghij".repeat(30);
        let typed = "hunter2".repeat(10);
        for text in ["", "# nothing", "hunter2", &good[1..], &typed, &three, &long] {
            let error = Tokens::parse(text).err().unwrap();
            assert!(!error.contains("hunter2") && !error.contains(&good[1..9]), "{error}");
        }
        let hexadecimal = good.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert!(Tokens::parse(&hexadecimal).is_ok());
        assert!(Tokens::parse(&hexadecimal[..60]).is_err());
    }
}
