//! Pieces of HTML.

/// Text as it must stand in HTML, between tags and in attributes.
pub(in crate::report) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A paragraph of plain text.
pub(super) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// A table of plain text. Cells are to the right but the first `left` of a row.
pub(super) struct Table {
    header: Vec<String>,
    body: String,
    left: usize,
}

impl Table {
    pub(super) fn new<T: AsRef<str>>(header: impl IntoIterator<Item = T>) -> Self {
        Self { header: header.into_iter().map(|cell| cell.as_ref().to_owned()).collect(), body: String::new(), left: 1 }
    }

    /// With more than the first column to the left.
    pub(super) fn left(self, left: usize) -> Self {
        Self { left, ..self }
    }

    pub(super) fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.body += &self.tagged("td", "", cells);
    }

    /// A row that stands out.
    pub(super) fn strong<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.body += &self.tagged("td", " class=\"strong\"", cells);
    }

    fn tagged<T: AsRef<str>>(&self, tag: &str, class: &str, cells: impl IntoIterator<Item = T>) -> String {
        let mut html = format!("<tr{class}>");
        for (column, cell) in cells.into_iter().enumerate() {
            let side = if column < self.left { " class=\"left\"" } else { "" };
            html += &format!("<{tag}{side}>{}</{tag}>", escape(cell.as_ref()));
        }
        html + "</tr>\n"
    }

    pub(super) fn html(self) -> String {
        let header = self.tagged("th", "", &self.header);
        format!("<div class=\"wide\"><table><thead>{header}</thead><tbody>{}</tbody></table></div>\n", self.body)
    }
}

/// Drawings side by side, those that there are; nothing where there are none.
pub(super) fn figures(drawings: impl IntoIterator<Item = Option<String>>) -> String {
    let drawn: String = drawings.into_iter().flatten().map(|svg| format!("<figure>{svg}</figure>\n")).collect();
    if drawn.is_empty() { drawn } else { format!("<div class=\"figures\">\n{drawn}</div>\n") }
}

/// One wide drawing, if there is one.
pub(super) fn wide_figure(drawing: Option<String>) -> String {
    drawing.map_or(String::new(), |svg| format!("<figure class=\"one\">{svg}</figure>\n"))
}

/// What the colours of a drawing stand for.
pub(super) fn legend<'a>(names: impl IntoIterator<Item = (usize, &'a str)>) -> String {
    let entry = |(series, name)| {
        format!("<span style=\"color:{}\"><i></i></span>{} ", crate::report::plot::colour(series), escape(name))
    };
    format!("<p class=\"legend\">{}</p>\n", names.into_iter().map(entry).collect::<String>())
}
