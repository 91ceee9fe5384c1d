//! What is printed: numbers, tables, JSON, confusions.

use std::io::{self, Write};

use serde::Serialize;
use svertka::train::{Confusion, wilson_interval};

/// Most classes whose whole confusion matrix is shown.
const WHOLE_MATRIX: usize = 12;

/// Most confused pairs that are shown of larger ones.
const CONFUSED_PAIRS: usize = 10;

/// One line of JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string(value)?)?;
    Ok(())
}

/// `text` without control characters: names from files must not steer the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `1,234,567`
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 x 3 x 224 x 224`
pub(crate) fn by(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}

/// `1 picture`, `2,000 pictures`
pub(crate) fn pictures(count: usize) -> String {
    format!("{} picture{}", thousands(count as u64), if count == 1 { "" } else { "s" })
}

/// `97.30 %`
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// Names of all classes of a model; numbers where it has none.
pub(crate) fn class_names(labels: &[String], classes: usize) -> Vec<String> {
    (0..classes).map(|i| labels.get(i).cloned().unwrap_or_else(|| i.to_string())).collect()
}

/// `accuracy 97.30 % of 1,000 pictures (95 % interval 96.10 to 98.13 %)`
pub(crate) fn accuracy(confusion: &Confusion) -> String {
    let (low, high) = wilson_interval(confusion.correct(), confusion.total());
    let (share, count) = (percent(confusion.accuracy()), pictures(confusion.total()));
    format!("accuracy {share} of {count} (95 % interval {:.2} to {})", low * 100.0, percent(high))
}

/// How a column is set.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Columns under their heads, two spaces apart. Rows have as many cells as there are heads.
pub(crate) fn table(out: &mut impl Write, heads: &[(&str, Align)], rows: &[Vec<String>]) -> io::Result<()> {
    let heads: Vec<(String, Align)> = heads.iter().map(|&(head, align)| (plain(head), align)).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            let cells = rows.iter().map(|row| &row[column]).chain([&heads[column].0]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in [heads.iter().map(|(head, _)| head.clone()).collect()].iter().chain(&rows) {
        let mut line = String::new();
        for ((cell, &width), (_, align)) in row.iter().zip(&widths).zip(&heads) {
            line += &match align {
                Align::Left => format!("{cell:<width$}  "),
                Align::Right => format!("{cell:>width$}  "),
            };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The matrix of a few classes; of many, the pairs that are confused most.
pub(crate) fn confusion(out: &mut impl Write, names: &[String], confusion: &Confusion) -> io::Result<()> {
    let counts = &confusion.counts;
    if counts.len() <= WHOLE_MATRIX {
        let numbers = |row: &Vec<usize>| row.iter().map(|&count| thousands(count as u64)).collect::<Vec<_>>();
        let rows: Vec<Vec<String>> =
            names.iter().zip(counts).map(|(name, row)| [vec![name.clone()], numbers(row)].concat()).collect();
        let mut heads = vec![("true \\ answer", Align::Left)];
        heads.extend(names.iter().map(|name| (name.as_str(), Align::Right)));
        return table(out, &heads, &rows);
    }
    let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
    for (label, row) in counts.iter().enumerate() {
        let row = row.iter().enumerate().map(|(answer, &count)| (count, label, answer));
        pairs.extend(row.filter(|&(count, label, answer)| count > 0 && answer != label));
    }
    pairs.sort_by_key(|&(count, label, answer)| (std::cmp::Reverse(count), label, answer));
    let of_label = |label: usize| counts[label].iter().sum::<usize>();
    let rows: Vec<Vec<String>> = pairs
        .iter()
        .take(CONFUSED_PAIRS)
        .map(|&(count, label, answer)| {
            vec![names[label].clone(), names[answer].clone(), format!("{count} of {}", of_label(label))]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "most confused, {} of {} pairs:", rows.len(), pairs.len())?;
    table(out, &[("true", Align::Left), ("answer", Align::Left), ("pictures", Align::Right)], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let grouped: Vec<String> = [0, 999, 1000, 1_234_567].into_iter().map(thousands).collect();
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn tables_align_and_keep_the_terminal_safe() {
        let mut out = Vec::new();
        let rows = [vec!["a\x1b[2Jb".to_owned(), "7".to_owned()], vec!["c".to_owned(), "1,234".to_owned()]];
        table(&mut out, &[("name", Align::Left), ("n", Align::Right)], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "name        n\na\u{fffd}[2Jb      7\nc       1,234\n");
    }

    #[test]
    fn of_many_classes_the_confused_pairs_are_shown() {
        let names = class_names(&["first".into()], 13);
        let mut counted = Confusion::new(13);
        for (label, answer, times) in [(0, 0, 9), (0, 3, 1), (5, 4, 2)] {
            (0..times).for_each(|_| counted.add(label, answer));
        }
        let mut out = Vec::new();
        confusion(&mut out, &names, &counted).unwrap();
        let expected = "most confused, 2 of 2 pairs:\ntrue   answer  pictures\n5      4         2 of 2\nfirst  3        1 of 10\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
