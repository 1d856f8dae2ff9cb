//! Looking through text for the bytes that need a closer look, eight at a time.

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// Bytes that end a stretch of plain text: control characters and those of a short list.
pub(super) struct Stops<const N: usize> {
    table: [bool; 256],
    listed: [u64; N],
}

/// What Go escapes in strings, for HTML's sake too, and the first byte of U+2028 and U+2029.
pub(super) static ESCAPED: Stops<6> = Stops::new([b'"', b'\\', b'<', b'>', b'&', 0xe2]);

/// How many bytes a string takes whose opening quote was read, its closing quote among them; all, where it has none.
pub(crate) fn end_of_string(bytes: &[u8]) -> usize {
    static STOPS: Stops<2> = Stops::new([b'"', b'\\']);
    let mut at = 0;
    loop {
        at += STOPS.plain(&bytes[at..]);
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') if at + 2 <= bytes.len() => at += 2,
            Some(b'\\') | None => return bytes.len(),
            Some(_) => at += 1,
        }
    }
}

/// How many lists and objects of a JSON text lie in one another.
pub(crate) fn depth(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut open, mut deepest) = (0, 0usize, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at += end_of_string(&bytes[at..]),
            b'{' | b'[' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

// === impl Stops ===

impl<const N: usize> Stops<N> {
    pub const fn new(listed: [u8; N]) -> Stops<N> {
        let (mut table, mut spread) = ([false; 256], [0; N]);
        let mut control = 0;
        while control < 0x20 {
            table[control] = true;
            control += 1;
        }
        let mut at = 0;
        while at < N {
            table[listed[at] as usize] = true;
            spread[at] = listed[at] as u64 * ONES;
            at += 1;
        }
        Stops { table, listed: spread }
    }

    /// How many bytes come before the first that is a stop.
    pub fn plain(&self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(word) = bytes[at..].first_chunk::<8>() {
            let found = self.found(u64::from_le_bytes(*word));
            if found != 0 {
                return at + found.trailing_zeros() as usize / 8;
            }
            at += 8;
        }
        let rest = &bytes[at..];
        at + rest.iter().position(|byte| self.table[usize::from(*byte)]).unwrap_or(rest.len())
    }

    /// The top bit of every stop in the word. Bytes above the first one may have it for nothing.
    fn found(&self, word: u64) -> u64 {
        let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
        let controls = word.wrapping_sub(0x20 * ONES) & !word;
        self.listed.iter().fold(controls, |found, byte| found | zeros(word ^ byte)) & TOPS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    static STOPS: Stops<3> = Stops::new([b'"', b'\\', 0xe2]);

    proptest! {
        #[test]
        fn the_first_stop_is_found(
            bytes in prop::collection::vec(prop_oneof![0x20u8..=255, any::<u8>(), Just(b'!'), Just(0xe1)], 0..40)
        ) {
            let is_stop = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\' | 0xe2);
            prop_assert_eq!(STOPS.plain(&bytes), bytes.iter().position(is_stop).unwrap_or(bytes.len()));
        }
    }
}
