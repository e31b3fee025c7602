//! The functions that `limbeck.h` declares.

/// A function as it is declared.
pub struct Function {
    pub returns: String,
    pub name: String,
    /// Type and name of each: `size_t length`.
    pub parameters: Vec<String>,
}

/// All functions, in the order of the header.
pub fn functions() -> Vec<Function> {
    functions_of(&std::fs::read_to_string(super::capi().join("include/limbeck.h")).unwrap())
}

/// The functions of a text like the header's.
pub fn functions_of(header: &str) -> Vec<Function> {
    let code: Vec<&str> = header
        .split("/*")
        .map(|part| part.split_once("*/").map_or(part, |(_, code)| code))
        .flat_map(str::lines)
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .collect();
    code.join(" ")
        .split(';')
        .map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|statement| !statement.starts_with("typedef") && !statement.contains(['{', '}']))
        .filter_map(|statement| {
            let (head, parameters) = statement.strip_suffix(')')?.split_once('(')?;
            let at = head.rfind("limbeck_")?;
            let parameters = if parameters == "void" { "" } else { parameters };
            Some(Function {
                returns: head[..at].trim().to_owned(),
                name: head[at..].to_owned(),
                parameters: parameters.split(',').map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect(),
            })
        })
        .collect()
}
