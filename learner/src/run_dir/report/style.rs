//! Colours of the report, in a light and a dark scheme.
//!
//! A picture is drawn in the light colours; in the dark scheme the page's style sheet replaces each of them, which it
//! finds by its number. The hues are those of Okabe and Ito, told apart with any kind of colour vision, darkened on
//! white to a contrast of 3 or more; nothing is said by colour alone, every line has its name beside it.

use std::fmt::Write;

use plotters::style::RGBColor;

/// A colour in both schemes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Colour {
    /// On white.
    pub(super) light: RGBColor,
    /// On black, as CSS writes it.
    dark: &'static str,
}

const fn colour(r: u8, g: u8, b: u8, dark: &'static str) -> Colour {
    Colour { light: RGBColor(r, g, b), dark }
}

pub(super) const INK: Colour = colour(0x1A, 0x1F, 0x24, "#E8ECF0");
pub(super) const MUTED: Colour = colour(0x5C, 0x67, 0x72, "#9DA9B5");
pub(super) const AXIS: Colour = colour(0xA9, 0xB3, 0xBD, "#505C68");
pub(super) const GRID: Colour = colour(0xE4, 0xE8, 0xEC, "#2A323A");
pub(super) const BLUE: Colour = colour(0x00, 0x72, 0xB2, "#56B4E9");
pub(super) const ORANGE: Colour = colour(0xD5, 0x5E, 0x00, "#F58A42");
pub(super) const GREEN: Colour = colour(0x00, 0x80, 0x5E, "#3CCBA0");
pub(super) const PURPLE: Colour = colour(0xA8, 0x4F, 0x8B, "#DD9CC8");
pub(super) const GOLD: Colour = colour(0xA0, 0x72, 0x00, "#E6B53C");

/// Every colour of a picture.
const ALL: [Colour; 9] = [INK, MUTED, AXIS, GRID, BLUE, ORANGE, GREEN, PURPLE, GOLD];

/// Colours of lines in one plot, in order.
pub(super) const LINES: [Colour; 5] = [BLUE, ORANGE, GREEN, PURPLE, GOLD];

/// The style sheet of the page.
pub(super) fn sheet() -> String {
    let mut dark = String::new();
    for Colour { light: RGBColor(r, g, b), dark: to } in ALL {
        let from = format!("#{r:02X}{g:02X}{b:02X}");
        writeln!(
            dark,
            "  svg [fill=\"{from}\"] {{ fill: {to}; }} svg [stroke=\"{from}\"] {{ stroke: {to}; }}"
        )
        .expect("a string grows");
    }
    format!("{PAGE}\n@media screen and (prefers-color-scheme: dark) {{\n{DARK}{dark}}}\n")
}

/// A page of sections. `body` is HTML.
pub(super) fn page(title: &str, heading: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n\
         <h1>{heading}</h1>\n{body}</main>\n</body>\n</html>\n",
        sheet()
    )
}

/// An `<svg>` element as a file of its own: it says what it is, and stands on white.
pub(super) fn alone(svg: &str) -> String {
    svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" style=\"background:#fff\" ", 1)
        .replace("<text ", "<text font-family=\"sans-serif\" ")
}

const PAGE: &str = "\
:root { color-scheme: light dark; --paper: #FFFFFF; --card: #F6F8FA; --ink: #1A1F24; --muted: #5C6772;
  --line: #DCE1E6; --accent: #0072B2; --best: #E3F1FA; --good: #00805E; --bad: #B84A00; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 21px; margin: 48px 0 4px; padding-top: 16px; border-top: 1px solid var(--line); }
p { max-width: 76ch; margin: 8px 0; }
.muted, figcaption, caption { color: var(--muted); }
nav { font-size: 14px; margin: 8px 0 0; } nav a { margin-right: 14px; }
a { color: var(--accent); }
dl.facts { margin: 20px 0; }
dl.facts div { display: inline-block; background: var(--card); border-radius: 8px; padding: 8px 14px; margin: 0 8px 8px 0; }
dl.facts dt { color: var(--muted); font-size: 13px; } dl.facts dd { margin: 0; font-weight: 600; font-size: 17px; }
ul.verdicts { list-style: none; margin: 16px 0; padding: 0; }
p.caveat { border-left: 4px solid #C98A00; background: var(--card); padding: 8px 14px; margin: 6px 0; }
ul.verdicts li { border-left: 4px solid var(--muted); background: var(--card); padding: 8px 14px; margin: 6px 0; }
ul.verdicts li.above { border-color: var(--good); } ul.verdicts li.below { border-color: var(--bad); }
figure { display: inline-block; vertical-align: top; width: 48%; margin: 20px 1.6% 0 0; break-inside: avoid; }
figure.wide { display: block; width: 100%; margin-right: 0; overflow-x: auto; } figure.wide svg { min-width: 640px; }
@media screen and (max-width: 820px) { figure { width: 100%; margin-right: 0; } }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; }
figcaption { font-size: 14px; margin-top: 4px; max-width: 90ch; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14.5px; margin: 12px 0; }
caption { text-align: left; font-size: 14px; padding-bottom: 6px; }
th, td { text-align: right; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; padding-left: 8px; }
table.words th, table.words td { text-align: left; }
thead th { font-weight: 600; color: var(--muted); }
tbody th { font-weight: 400; }
tr.agent th { font-weight: 700; } tr.best { background: var(--best); } tr.oracle { color: var(--muted); }
td small { color: var(--muted); font-size: 12.5px; }
pre { background: var(--card); border-radius: 8px; padding: 12px 14px; overflow-x: auto; font-size: 14px; }
code { font-family: ui-monospace, 'SF Mono', Menlo, Consolas, monospace; font-size: .93em; }
@media print {
  main { max-width: none; padding: 0; } nav { display: none; } h2 { break-after: avoid; }
  body, figcaption, caption { font-size: 12px; } h2 { font-size: 17px; margin-top: 24px; } table { font-size: 11px; } figure.wide svg { min-width: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}";

const DARK: &str = "\
  :root { --paper: #12171C; --card: #1B2229; --ink: #E8ECF0; --muted: #9DA9B5; --line: #2E3740;
    --accent: #56B4E9; --best: #12354A; --good: #3CCBA0; --bad: #F58A42; }
";
