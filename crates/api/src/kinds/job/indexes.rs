//! Lists of completion indexes: `1,3-5,7`.

use crate::field::go_quote;

/// How many indexes a list names, all of them below `completions` and rising.
///
/// # Errors
/// What is wrong, in upstream's words.
pub fn count(list: &str, completions: i64) -> Result<i64, String> {
    let mut last = None;
    let mut total = 0;
    for text in list.split(',').filter(|_| !list.is_empty()) {
        let (first, end) = interval(text, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// The first index that both lists name; what can't be read in them is passed over.
pub fn overlap(completed: &str, failed: &str, completions: i64) -> Option<i64> {
    let intervals = |list: &str| -> Vec<(i64, i64)> {
        list.split(',').filter_map(|text| interval(text, completions).ok()).collect()
    };
    let failed = intervals(failed);
    intervals(completed)
        .into_iter()
        .find_map(|(first, end)| failed.iter().find(|(x, y)| first <= *y && *x <= end).map(|(x, _)| first.max(*x)))
}

fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let mut parts = text.split('-');
    let (first, end) = (parts.next().unwrap_or_default(), parts.next());
    if parts.next().is_some() {
        return Err(format!(
            "the fragment {} violates the requirement that an index interval can have at most two parts separated by '-'",
            go_quote(text)
        ));
    }
    let index = |text: &str| {
        let index: i64 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: {}", go_quote(text)))?;
        if index >= completions {
            return Err(format!("too large index: {}", go_quote(text)));
        }
        Ok(index)
    };
    let first = index(first)?;
    let Some(end) = end else { return Ok((first, first)) };
    let end = index(end)?;
    if first >= end {
        return Err(format!("non-increasing order, previous: {first}, current: {end}"));
    }
    Ok((first, end))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", Ok(0))]
    #[case("0,2-4", Ok(4))]
    #[case("3,1", Err("non-increasing order, previous: 3, current: 1"))]
    #[case(
        "1-2-3",
        Err(
            "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'"
        )
    )]
    #[case("9", Err("too large index: \"9\""))]
    #[case("x", Err("cannot convert string to integer for index: \"x\""))]
    fn lists(#[case] list: &str, #[case] expected: Result<i64, &str>) {
        assert_eq!(count(list, 5), expected.map_err(str::to_owned));
    }

    #[test]
    fn overlaps_are_found() {
        assert_eq!(overlap("0-3", "2,4", 5), Some(2));
        assert_eq!(overlap("0-1", "2,4", 5), None);
    }
}
