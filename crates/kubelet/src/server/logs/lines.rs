//! From the runtime's records to the container's own words.

use jiff::Timestamp;

use super::Options;
use crate::logs;

/// Turns records into text, whatever pieces they come in.
#[derive(Debug)]
pub struct Lines {
    timestamps: bool,
    since: Option<Timestamp>,
    errors: Option<bool>,
    /// Bytes that may still be given.
    left: u64,
    /// Records that may still be given: what is written meanwhile is none of the last ones asked for.
    records_left: u64,
    /// A record whose end has not come yet.
    rest: Vec<u8>,
    /// The last record given went on.
    within: bool,
}

/// A record that is longer is no record: runtimes cut lines at 16 KiB.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Digits of a second's fraction in what is given.
const FRACTION_DIGITS: usize = 9;

impl Lines {
    /// For what is wanted.
    pub fn new(options: &Options) -> Self {
        Lines {
            timestamps: options.timestamps,
            since: options.since,
            errors: options.errors,
            left: options.limit_bytes.unwrap_or(u64::MAX),
            records_left: options.tail_lines.filter(|_| !options.follow).unwrap_or(u64::MAX),
            rest: Vec::new(),
            within: false,
        }
    }

    /// Whether all that may be given was given.
    pub fn is_over(&self) -> bool {
        self.left == 0 || self.records_left == 0
    }

    /// The text in the next piece of the file.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        let mut from = 0;
        while let Some(end) = piece[from..].iter().position(|byte| *byte == b'\n') {
            let line = &piece[from..from + end];
            from += end + 1;
            if self.rest.is_empty() {
                self.record(line, &mut out);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.record(&whole, &mut out);
            }
        }
        // One byte too many says as well as all of them that it is no record.
        let room = (RECORD_BYTES_MAX + 1).saturating_sub(self.rest.len());
        self.rest.extend_from_slice(&piece[from..][..room.min(piece.len() - from)]);
        out
    }

    /// The text of a record that was never ended.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let rest = std::mem::take(&mut self.rest);
        self.record(&rest, &mut out);
        out
    }

    fn record(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if self.is_over() || line.len() > RECORD_BYTES_MAX {
            return;
        }
        let Some(record) = logs::parse(line) else { return };
        self.records_left -= 1;
        if self.errors.is_some_and(|errors| errors != record.is_error) || self.is_old(record.time) {
            return;
        }
        let start = out.len();
        if self.timestamps && !self.within {
            out.extend_from_slice(fixed(record.time).as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(record.text);
        if !record.is_partial {
            out.push(b'\n');
        }
        self.within = record.is_partial;
        let given = (out.len() - start) as u64;
        if given > self.left {
            out.truncate(start + usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left = self.left.saturating_sub(given);
    }

    fn is_old(&self, time: &str) -> bool {
        self.since.is_some_and(|since| time.parse::<Timestamp>().is_ok_and(|time| time < since))
    }
}

/// The time with all nine digits of its fraction, which Go cuts zeros from.
fn fixed(time: &str) -> String {
    let zone = time.rfind(['Z', '+', '-']).filter(|at| *at > time.find('T').unwrap_or_default()).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    format!("{whole}.{fraction:0<FRACTION_DIGITS$}{zone}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const LOG: &str = "2026-01-01T00:00:01.5Z stdout F one\n2026-01-01T00:00:02Z stdout P tw\nnonsense\n\
                       2026-01-01T00:00:02Z stdout F o\n2026-01-01T00:00:03+01:00 stderr F three\n";

    fn all(options: &Options, pieces: &[&[u8]]) -> String {
        let mut lines = Lines::new(options);
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| lines.feed(piece)).collect();
        out.extend(lines.finish());
        String::from_utf8(out).unwrap()
    }

    #[rstest]
    #[case::everything(Options::default(), "one\ntwo\nthree\n")]
    #[case::times(Options { timestamps: true, ..Options::default() }, "2026-01-01T00:00:01.500000000Z one\n2026-01-01T00:00:02.000000000Z two\n2026-01-01T00:00:03.000000000+01:00 three\n")]
    #[case::errors(Options { errors: Some(true), ..Options::default() }, "three\n")]
    #[case::others(Options { errors: Some(false), ..Options::default() }, "one\ntwo\n")]
    #[case::since(Options { since: "2026-01-01T00:00:02Z".parse().ok(), ..Options::default() }, "two\n")]
    #[case::no_more_than_asked_for(Options { tail_lines: Some(2), ..Options::default() }, "one\ntw")]
    #[case::all_that_follow(Options { tail_lines: Some(1), follow: true, ..Options::default() }, "one\ntwo\nthree\n")]
    #[case::limit(Options { limit_bytes: Some(6), ..Options::default() }, "one\ntw")]
    fn texts(#[case] options: Options, #[case] expected: &str) {
        assert_eq!(all(&options, &[LOG.as_bytes()]), expected);
    }

    #[test]
    fn a_record_that_was_never_ended() {
        assert_eq!(all(&Options::default(), &[b"2026-01-01T00:00:01Z stdout F one"]), "one\n");
    }

    /// Found while fuzzing: what came before and after the piece that was too much was taken for one record.
    #[test]
    fn a_record_that_is_too_long_is_none() {
        let long = format!("2026-01-01T00:00:00Z stdout F {}\n", "x".repeat(RECORD_BYTES_MAX));
        let log = [&long, LOG].concat();
        assert_eq!(all(&Options::default(), &[log.as_bytes()]), "one\ntwo\nthree\n");
        let pieces: Vec<&[u8]> = log.as_bytes().chunks(32 << 10).collect();
        assert_eq!(all(&Options::default(), &pieces), "one\ntwo\nthree\n");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cuts in proptest::collection::vec(0..LOG.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let ends = cuts.iter().copied().chain([LOG.len()]);
            let mut from = 0;
            let pieces: Vec<&[u8]> = ends.map(|end| { let piece = &LOG.as_bytes()[from..end]; from = end; piece }).collect();
            prop_assert_eq!(all(&Options::default(), &pieces), "one\ntwo\nthree\n");
        }
    }
}
