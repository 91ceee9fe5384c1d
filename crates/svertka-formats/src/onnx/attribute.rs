//! Attributes of nodes: reading by name with a type check, and building.

use super::{AttributeProto, AttributeType, FORMAT, NodeProto, TensorProto};
use crate::{Error, Result};

/// An absent attribute is `None`, so that the operator's default can be put with `unwrap_or`; an attribute of
/// another type is an error.
impl NodeProto {
    /// An integer.
    pub fn attr_int(&self, name: &str) -> Result<Option<i64>> {
        Ok(self.attr(name, AttributeType::Int)?.map(|attribute| attribute.i))
    }

    /// A list of integers.
    pub fn attr_ints(&self, name: &str) -> Result<Option<&[i64]>> {
        Ok(self.attr(name, AttributeType::Ints)?.map(|attribute| &*attribute.ints))
    }

    /// A float.
    pub fn attr_float(&self, name: &str) -> Result<Option<f32>> {
        Ok(self.attr(name, AttributeType::Float)?.map(|attribute| attribute.f))
    }

    /// A list of floats.
    pub fn attr_floats(&self, name: &str) -> Result<Option<&[f32]>> {
        Ok(self.attr(name, AttributeType::Floats)?.map(|attribute| &*attribute.floats))
    }

    /// A text.
    pub fn attr_string(&self, name: &str) -> Result<Option<&str>> {
        let Some(attribute) = self.attr(name, AttributeType::String)? else { return Ok(None) };
        let text = std::str::from_utf8(&attribute.s).map_err(|error| {
            Error::malformed(FORMAT, self.describe(name), "UTF-8 text", error.to_string())
        })?;
        Ok(Some(text))
    }

    /// A tensor.
    pub fn attr_tensor(&self, name: &str) -> Result<Option<&TensorProto>> {
        let Some(attribute) = self.attr(name, AttributeType::Tensor)? else { return Ok(None) };
        let tensor = attribute.t.as_ref();
        tensor.map(Some).ok_or_else(|| Error::malformed(FORMAT, self.describe(name), "a tensor", "none"))
    }

    fn attr(&self, name: &str, expected: AttributeType) -> Result<Option<&AttributeProto>> {
        let Some(attribute) = self.attribute.iter().find(|attribute| attribute.name == name) else {
            return Ok(None);
        };
        if !attribute.ref_attr_name.is_empty() {
            return Err(Error::unsupported(FORMAT, format!("{}: a reference", self.describe(name))));
        }
        let received = attribute.r#type();
        // Files of format version 1 do not say the type.
        if received != expected && attribute.r#type != AttributeType::Undefined as i32 {
            let received = format!("{received:?} ({})", attribute.r#type);
            return Err(Error::malformed(FORMAT, self.describe(name), format!("{expected:?}"), received));
        }
        Ok(Some(attribute))
    }

    fn describe(&self, attribute: &str) -> String {
        format!("attribute {attribute:?} of {} {:?}", self.op_type, self.name)
    }
}

impl AttributeProto {
    /// An integer.
    pub fn int(name: &str, i: i64) -> Self {
        Self { i, ..Self::named(name, AttributeType::Int) }
    }

    /// A list of integers.
    pub fn ints(name: &str, ints: impl Into<Vec<i64>>) -> Self {
        Self { ints: ints.into(), ..Self::named(name, AttributeType::Ints) }
    }

    /// A float.
    pub fn float(name: &str, f: f32) -> Self {
        Self { f, ..Self::named(name, AttributeType::Float) }
    }

    /// A list of floats.
    pub fn floats(name: &str, floats: impl Into<Vec<f32>>) -> Self {
        Self { floats: floats.into(), ..Self::named(name, AttributeType::Floats) }
    }

    /// A text.
    pub fn string(name: &str, s: &str) -> Self {
        Self { s: s.into(), ..Self::named(name, AttributeType::String) }
    }

    /// A tensor.
    pub fn tensor(name: &str, t: TensorProto) -> Self {
        Self { t: Some(t), ..Self::named(name, AttributeType::Tensor) }
    }

    fn named(name: &str, r#type: AttributeType) -> Self {
        Self { name: name.to_owned(), r#type: r#type as i32, ..Default::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_by_name_and_type() {
        let node = NodeProto {
            op_type: "Conv".to_owned(),
            name: "c1".to_owned(),
            attribute: vec![
                AttributeProto::int("group", 4),
                AttributeProto::ints("pads", [1, 2, 3, 4]),
                AttributeProto::float("alpha", 0.5),
                AttributeProto::floats("scales", [0.5, 2.0]),
                AttributeProto::string("auto_pad", "SAME_UPPER"),
                AttributeProto::tensor("value", TensorProto::int64("v", &[1], &[9])),
                AttributeProto { name: "old".to_owned(), i: 7, ..Default::default() },
                AttributeProto { ref_attr_name: "outer".to_owned(), ..AttributeProto::int("inner", 0) },
                AttributeProto { s: vec![0xff], ..AttributeProto::string("broken", "") },
            ],
            ..Default::default()
        };
        assert_eq!(node.attr_int("group"), Ok(Some(4)));
        assert_eq!(node.attr_int("axis"), Ok(None));
        assert_eq!(node.attr_ints("pads"), Ok(Some(&[1, 2, 3, 4][..])));
        assert_eq!(node.attr_float("alpha"), Ok(Some(0.5)));
        assert_eq!(node.attr_floats("scales"), Ok(Some(&[0.5, 2.0][..])));
        assert_eq!(node.attr_string("auto_pad"), Ok(Some("SAME_UPPER")));
        assert_eq!(node.attr_tensor("value").unwrap().unwrap().ints(), Ok(vec![9]));
        assert_eq!(node.attr_int("old"), Ok(Some(7)));
        assert!(node.attr_int("inner").is_err());
        assert!(node.attr_string("broken").is_err());
        assert_eq!(
            node.attr_int("pads").unwrap_err().to_string(),
            "ONNX: attribute \"pads\" of Conv \"c1\": expected Int, received Ints (7)"
        );
    }
}
