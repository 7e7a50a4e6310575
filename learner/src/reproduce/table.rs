//! Rows of words, as Markdown, CSV and JSON.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::run_dir::write_whole;

/// A table of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// For file names, e.g. `fig7-50`.
    pub id: String,
    /// Over the table.
    pub title: String,
    /// Names of the columns.
    pub header: Vec<String>,
    /// As long as the header, each.
    pub rows: Vec<Vec<String>>,
    /// Under the table.
    pub notes: Vec<String>,
}

impl Table {
    /// With its title and notes.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = format!("### {}\n\n{}", self.title, line(&self.header));
        text += &format!("|{}\n", "---|".repeat(self.header.len()));
        self.rows.iter().for_each(|row| text += &line(row));
        self.notes.iter().for_each(|note| text += &format!("\n{note}\n"));
        text
    }

    /// Header and rows.
    ///
    /// # Errors
    /// None but those of memory.
    pub fn csv(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.header)?;
        for row in &self.rows {
            writer.write_record(row)?;
        }
        Ok(writer.into_inner()?)
    }

    /// `ID.md`, `ID.csv`, `ID.json`.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let file = |extension: &str| folder.join(format!("{}.{extension}", self.id));
        write_whole(&file("md"), self.markdown().as_bytes())?;
        write_whole(&file("csv"), &self.csv()?)?;
        write_whole(&file("json"), &serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_a_form_are_written_out() {
        let table = Table {
            id: "t".to_owned(),
            title: "T".to_owned(),
            header: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![vec!["x|y".to_owned(), "1, 2".to_owned()]],
            notes: vec!["note".to_owned()],
        };
        assert_eq!(table.markdown(), "### T\n\n| a | b |\n|---|---|\n| x\\|y | 1, 2 |\n\nnote\n");
        assert_eq!(String::from_utf8(table.csv().unwrap()).unwrap(), "a,b\nx|y,\"1, 2\"\n");
    }
}
