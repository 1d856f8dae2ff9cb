//! The log of a container as its runtime writes it, in whatever pieces it is read.
#![no_main]

use fuzz::Limit;
use jiff::Timestamp;
use kubelet::decoders::{Lines, Options};
use kubelet::logs;

fuzz::target!(Limit { per_byte: 100, besides: 1 << 20 }, |input| {
    let Some(([choice, cut], log)) = input.split_first_chunk::<2>() else { return };
    let options = options(*choice);
    let whole = text(&options, &[log]);
    let (head, tail) = log.split_at(usize::from(*cut).min(log.len()));
    assert_eq!(whole, text(&options, &[head, tail]));
    let bytes: Vec<&[u8]> = log.chunks(1).collect();
    assert_eq!(whole, text(&options, &bytes));
    if let Some(limit) = options.limit_bytes {
        assert!(whole.len() as u64 <= limit, "{} bytes of {limit}", whole.len());
    }
    for record in log.split(|byte| *byte == b'\n').filter_map(logs::parse) {
        let stream = if record.is_error { "stderr" } else { "stdout" };
        let tag = if record.is_partial { "P" } else { "F" };
        let line = [format!("{} {stream} {tag} ", record.time).as_bytes(), record.text].concat();
        assert_eq!(logs::parse(&line), Some(record));
    }
});

fn options(choice: u8) -> Options {
    let bit = |at: u8| choice >> at & 1 == 1;
    Options {
        follow: bit(0),
        timestamps: bit(1),
        since: bit(2).then_some(Timestamp::UNIX_EPOCH),
        tail_lines: bit(3).then_some(2),
        limit_bytes: bit(4).then_some(10),
        errors: bit(5).then_some(bit(6)),
        ..Options::default()
    }
}

fn text(options: &Options, pieces: &[&[u8]]) -> Vec<u8> {
    let mut lines = Lines::new(options);
    let mut text: Vec<u8> = pieces.iter().flat_map(|piece| lines.feed(piece)).collect();
    text.extend(lines.finish());
    text
}
