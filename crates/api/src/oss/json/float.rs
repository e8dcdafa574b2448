//! Decimal text to `f32`, bit for bit what parsing to a correctly rounded `f64` and casting gives.
//!
//! Vectors arrive as text with 8 to 17 significant digits per number; this is the hot loop of
//! ingest. The idea: an approximate `f64` is enough unless it lies next to the boundary between
//! two `f32`.
//!
//! ```text
//! digits      -> m (u64, at most 19 digits), e      value = m * 10^e exactly
//! a           =  f64(m) * 10^e                      three roundings: |a - value| < 4 ulp of f64
//! low 29 bits of a's mantissa are what the cast to f32 rounds away; half is 2^28
//! |low - half| > 8  -> every f64 within 4 ulp of a casts to the same f32 -> a as f32
//! otherwise (one in 30 million, exact ties, tiny, huge, odd spellings) -> str::parse::<f64>
//! ```
//!
//! Parsing straight to `f32` would round once instead of twice and differ from what clients
//! compute; a table of 128-bit powers (Eisel-Lemire) is not needed for 24 bits.

/// 10^-48 to 10^38, each the nearest `f64`.
const POWERS: [f64; 87] = [
    1e-48, 1e-47, 1e-46, 1e-45, 1e-44, 1e-43, 1e-42, 1e-41, 1e-40, 1e-39, 1e-38, 1e-37, 1e-36,
    1e-35, 1e-34, 1e-33, 1e-32, 1e-31, 1e-30, 1e-29, 1e-28, 1e-27, 1e-26, 1e-25, 1e-24, 1e-23,
    1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10,
    1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7,
    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23,
    1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31, 1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38,
];
const POWER_MIN: i64 = -48;

/// The number at the start of `bytes` and its length in bytes.
///
/// `None` sends the caller to the exact way: an unusual spelling, malformed text, or a value too
/// close to call. A number that is returned is finite, and its text is a JSON number.
#[inline]
pub(super) fn scan(bytes: &[u8]) -> Option<(f32, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut digits = Digits { mantissa: 0, at: start };
    digits.few(bytes)?;
    // At least one digit, and no leading zero before another digit.
    let length = digits.at - start;
    if length == 0 || (length > 1 && bytes[start] == b'0') {
        return None;
    }
    let mut exponent = 0;
    if bytes.get(digits.at) == Some(&b'.') {
        digits.at += 1;
        let point = digits.at;
        digits.many(bytes)?;
        if digits.at == point {
            return None;
        }
        exponent = -i64::try_from(digits.at - point).ok()?;
    }
    if let Some(b'e' | b'E') = bytes.get(digits.at) {
        let (power, length) = scan_exponent(&bytes[digits.at + 1..])?;
        exponent += power;
        digits.at += 1 + length;
    }
    let number = nearest(digits.mantissa, exponent)?;
    Some((if negative { -number } else { number }, digits.at))
}

struct Digits {
    mantissa: u64,
    at: usize,
}

impl Digits {
    /// Digits one by one: the integer part of a component is rarely longer than one.
    #[inline]
    fn few(&mut self, bytes: &[u8]) -> Option<()> {
        while let Some(digit) = bytes.get(self.at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10)
        {
            if self.mantissa >= 10u64.pow(18) {
                return None;
            }
            self.mantissa = self.mantissa * 10 + u64::from(digit);
            self.at += 1;
        }
        Some(())
    }

    /// Digits eight at a time, then one by one.
    #[inline]
    fn many(&mut self, bytes: &[u8]) -> Option<()> {
        while let Some(chunk) = bytes.get(self.at..self.at + 8) {
            let word = u64::from_le_bytes(chunk.try_into().ok()?);
            if !is_eight_digits(word) {
                break;
            }
            if self.mantissa >= 10u64.pow(11) {
                return None;
            }
            self.mantissa = self.mantissa * 100_000_000 + eight_digits(word);
            self.at += 8;
        }
        self.few(bytes)
    }
}

/// Whether all eight bytes are ASCII digits: high nibble 3, and still 3 after adding 6.
#[inline]
fn is_eight_digits(word: u64) -> bool {
    let high = 0xF0F0_F0F0_F0F0_F0F0;
    let with_six = word.wrapping_add(0x0606_0606_0606_0606);
    (word & high) | ((with_six & high) >> 4) == 0x3333_3333_3333_3333
}

/// The value of eight ASCII digits, the first in the lowest byte: pairs, then fours, then all.
/// (Daniel Lemire, "Quickly parsing eight digits", 2018.)
#[inline]
fn eight_digits(word: u64) -> u64 {
    let word = (word & 0x0F0F_0F0F_0F0F_0F0F).wrapping_mul(2561) >> 8;
    let word = (word & 0x00FF_00FF_00FF_00FF).wrapping_mul(6_553_601) >> 16;
    (word & 0x0000_FFFF_0000_FFFF).wrapping_mul(42_949_672_960_001) >> 32
}

/// Sign and up to four digits of an exponent, and their length.
#[inline]
fn scan_exponent(bytes: &[u8]) -> Option<(i64, usize)> {
    let signed = matches!(bytes.first(), Some(b'+' | b'-'));
    let start = usize::from(signed);
    let mut power = 0;
    let mut at = start;
    while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
        power = power * 10 + i64::from(digit - b'0');
        at += 1;
        if at - start > 4 {
            return None;
        }
    }
    let power = if bytes.first() == Some(&b'-') { -power } else { power };
    (at > start).then_some((power, at))
}

/// `mantissa * 10^exponent` as `f32` by way of the nearest `f64`, or `None` if too close to call.
#[inline]
fn nearest(mantissa: u64, exponent: i64) -> Option<f32> {
    if mantissa == 0 {
        return Some(0.0);
    }
    let power = POWERS.get(usize::try_from(exponent - POWER_MIN).ok()?)?;
    #[expect(clippy::cast_precision_loss, reason = "one of the three accounted roundings")]
    let about = mantissa as f64 * power;
    // Below lie subnormal f32, where fewer bits count; above, overflow.
    if !(1.2e-38..3.4e38).contains(&about) {
        return None;
    }
    let low = about.to_bits() & 0x1FFF_FFFF;
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the purpose")]
    (low.abs_diff(1 << 28) > 8).then_some(about as f32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(text: &str) -> f32 {
        text.parse::<f64>().unwrap() as f32
    }

    fn check(text: &str) {
        if let Some((number, length)) = scan(text.as_bytes()) {
            assert_eq!(length, text.len(), "{text}");
            assert_eq!(number.to_bits(), exact(text).to_bits(), "{text}");
        }
    }

    #[test]
    fn table_is_complete() {
        for (place, power) in POWERS.iter().enumerate() {
            let exponent = i64::try_from(place).unwrap() + POWER_MIN;
            assert_eq!(*power, format!("1e{exponent}").parse::<f64>().unwrap());
        }
    }

    #[test]
    fn usual_numbers_take_the_fast_way() {
        let usual = [
            "0",
            "-0",
            "1",
            "-1.5",
            "0.1",
            "0.10000000149011612",
            "-0.00012345678901234567",
            "1e-5",
            "3.5E+10",
            "123456.789",
            "0.0",
            "-0.000",
            "1.401298464324817e-10",
        ];
        for text in usual {
            assert!(scan(text.as_bytes()).is_some(), "{text}");
            check(text);
        }
    }

    #[test]
    fn odd_spellings_go_the_exact_way() {
        let odd = [
            "",
            "-",
            ".5",
            "1.",
            "01",
            "-01",
            "1e",
            "1e+",
            "1e99999",
            "NaN",
            "+1",
            "1e39",
            "1e-46",
            "12345678901234567890",
            "0.12345678901234567890",
            "3.5e38",
        ];
        for text in odd {
            assert!(scan(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(scan(b"1,2").map(|(_, n)| n), Some(1));
        assert_eq!(scan(b"1.5e]").map(|(_, n)| n), None);
    }

    #[test]
    fn ties_and_their_neighbours() {
        // Halfway between two f32, and one f64 step beside it: the cast must not be guessed.
        for bits in [0x3F80_0000u32, 0x3F80_0001, 0x0080_0000, 0x7F7F_FFFE, 0x3DCC_CCCD] {
            let (low, high) = (f32::from_bits(bits), f32::from_bits(bits + 1));
            let tie = (f64::from(low) + f64::from(high)) / 2.0;
            for step in -12i64..=12 {
                let near = f64::from_bits(tie.to_bits().wrapping_add_signed(step));
                check(&format!("{near}"));
                check(&format!("{near:e}"));
                check(&format!("{near:.17e}"));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_f64_text(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            check(&format!("{number}"));
            check(&format!("{number:e}"));
        }

        #[test]
        fn any_f32_text(bits in any::<u32>()) {
            let number = f32::from_bits(bits);
            prop_assume!(number.is_finite());
            check(&format!("{number}"));
            check(&format!("{number:e}"));
            check(&format!("{}", f64::from(number)));
        }

        #[test]
        fn any_json_number(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?") {
            check(&text);
        }

        #[test]
        fn any_component(digits in "[0-9]{1,18}", negative in any::<bool>()) {
            check(&format!("{}0.{digits}", if negative { "-" } else { "" }));
        }
    }
}
