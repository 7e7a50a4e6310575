//! Text into HTML. Everything that comes from a file or a setting goes through [`escape`].

use std::fmt::Display;

/// The text with the characters that HTML reads as marks written out.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `<p>` of plain text.
pub(super) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// `<pre>` of plain text.
pub(super) fn code(text: &str) -> String {
    format!("<pre><code>{}</code></pre>\n", escape(text))
}

/// A section that links can name. `body` is HTML.
pub(super) fn section(id: &str, title: &str, body: impl Display) -> String {
    format!("<section id=\"{id}\">\n<h2>{}</h2>\n{body}</section>\n", escape(title))
}

/// `<table>` of texts, the first cell of a row being its name.
pub(super) fn table_of_words(header: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, cells: Vec<String>| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
    };
    let head = cells("th scope=\"col\"", header.iter().map(|&h| h.to_owned()).collect());
    let head = head.replace("</th scope=\"col\">", "</th>");
    let body: String = rows.iter().map(|row| format!("<tr>{}</tr>\n", cells("td", row.clone()))).collect();
    format!(
        "<div class=\"scroll\"><table class=\"words\">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_written_out() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
        assert_eq!(paragraph("a < b"), "<p>a &lt; b</p>\n");
        assert!(table_of_words(&["<k>"], &[vec!["<v>".into()]]).contains("<td>&lt;v&gt;</td>"));
    }
}
