//! What an import did, or would do: for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Examples named with a remark.
const EXAMPLES: usize = 3;

/// The outcome of an import.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// By what is counted: `accounts`, `devices`, ….
    pub counts: BTreeMap<&'static str, Count>,
    /// What does not map or was left out, and why.
    pub remarks: BTreeMap<String, Remark>,
    /// Files taken over.
    pub files: Vec<String>,
}

/// How many of one sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// In the source.
    pub found: usize,
    /// Taken over now.
    pub imported: usize,
    /// Already here, and therefore left as they are here.
    pub present: usize,
}

/// Something that was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// How often.
    pub times: usize,
    /// The first few it was about.
    pub examples: Vec<String>,
}

impl Report {
    /// Notes something about `whom`.
    pub(super) fn remark(&mut self, what: impl Into<String>, whom: &str) {
        remark(&mut self.remarks, what.into(), whom);
    }

    pub(super) fn count(&mut self, sort: &'static str) -> &mut Count {
        self.counts.entry(sort).or_default()
    }
}

impl fmt::Display for Report {
    /// A table of counts, then remarks; cells are separated by tabs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "WHAT\tFOUND\tIMPORTED\tALREADY HERE")?;
        for (sort, Count { found, imported, present }) in &self.counts {
            writeln!(f, "{sort}\t{found}\t{imported}\t{present}")?;
        }
        for file in &self.files {
            writeln!(f, "{file}")?;
        }
        write_remarks(&self.remarks, f)
    }
}

/// Notes something about `whom` among `remarks`.
pub(super) fn remark(remarks: &mut BTreeMap<String, Remark>, what: String, whom: &str) {
    let remark = remarks.entry(what).or_default();
    remark.times += 1;
    if remark.examples.len() < EXAMPLES && !whom.is_empty() {
        remark.examples.push(whom.to_owned());
    }
}

/// One remark in each line.
pub(super) fn write_remarks(
    remarks: &BTreeMap<String, Remark>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (what, Remark { times, examples }) in remarks {
        // Ids and names come from a foreign file.
        let clean = |text: &str| text.replace(char::is_control, "?");
        let more = if *times > examples.len() { ", …" } else { "" };
        let whom = examples.iter().map(|e| clean(e)).collect::<Vec<_>>().join(", ");
        match whom.is_empty() {
            true => writeln!(f, "{}", clean(what))?,
            false => writeln!(f, "{} ({times}: {whom}{more})", clean(what))?,
        }
    }
    Ok(())
}
