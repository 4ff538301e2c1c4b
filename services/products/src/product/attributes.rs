//! The attributes of a product beyond the fixed fields: any JSON, within limits that keep items
//! small and pages fast.
//!
//! The limits follow from DynamoDB: an item holds at most 400 KB, documents nest at most 32 deep,
//! numbers have a bounded exponent, and names are not empty. A page shows a hundred products, so
//! the limit on size is far lower.

use serde_json::Value;

use super::{Invalid, Object};

/// Maximum number of attributes of a product.
const MAX_COUNT: usize = 64;
/// Maximum length of an attribute's name, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Maximum nesting within an attribute.
const MAX_DEPTH: usize = 8;
/// Maximum size of all attributes together, in bytes of JSON.
const MAX_SIZE_BYTES: usize = 16 * 1024;
/// DynamoDB stores numbers of a magnitude from 1e-130 to below 1e126.
const MAGNITUDES: std::ops::Range<f64> = 1e-130..1e126;

/// Returns the attributes, if they are within the limits.
pub(super) fn checked(attributes: Object) -> Result<Object, Invalid> {
    if attributes.len() > MAX_COUNT {
        return Err(Invalid::new(
            "",
            format!("must not have more than {MAX_COUNT} further attributes"),
        ));
    }

    for (name, value) in &attributes {
        check_name(name, name)?;
        check(name, value, MAX_DEPTH)?;
    }

    let size_bytes: usize = attributes
        .iter()
        .map(|(name, value)| name.len() + value.to_string().len())
        .sum();

    if size_bytes > MAX_SIZE_BYTES {
        let largest = attributes
            .iter()
            .max_by_key(|(_, value)| value.to_string().len());
        let field = largest.map_or("", |(name, _)| name.as_str());

        return Err(Invalid::new(
            field,
            format!("makes the attributes longer than {MAX_SIZE_BYTES} bytes of JSON"),
        ));
    }

    Ok(attributes)
}

/// Checks a value and everything in it. `path` names the value in an error.
fn check(path: &str, value: &Value, depth_left: usize) -> Result<(), Invalid> {
    if depth_left == 0 {
        return Err(Invalid::new(
            path,
            format!("must not nest more than {MAX_DEPTH} deep"),
        ));
    }

    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, inner)| {
            check_name(path, name)?;
            check(&format!("{path}.{name}"), inner, depth_left - 1)
        }),
        Value::Array(elements) => {
            let mut numbered = elements.iter().enumerate();
            numbered.try_for_each(|(index, inner)| {
                check(&format!("{path}[{index}]"), inner, depth_left - 1)
            })
        }
        Value::Number(number) if !is_storable(number) => {
            Err(Invalid::new(path, "is a number out of range"))
        }
        _ => Ok(()),
    }
}

fn check_name(path: &str, name: &str) -> Result<(), Invalid> {
    if name.is_empty() {
        return Err(Invalid::new(path, "must not have an empty name"));
    }

    if name.len() > MAX_NAME_BYTES {
        return Err(Invalid::new(
            path,
            format!("has a name longer than {MAX_NAME_BYTES} bytes"),
        ));
    }

    Ok(())
}

/// Returns whether DynamoDB can store the number.
fn is_storable(number: &serde_json::Number) -> bool {
    let Some(float) = number.as_f64() else {
        return false;
    };

    number.is_i64() || number.is_u64() || float == 0.0 || MAGNITUDES.contains(&float.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked_json(value: Value) -> Result<Object, Invalid> {
        let Value::Object(attributes) = value else {
            panic!("{value} is no object")
        };
        checked(attributes)
    }

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn any_json_within_the_limits_is_kept_as_given() {
        let given = json!({"art": "🪔", "sizes": [1, 2.5, null, true], "maker": {"name": "Ö"}, "deep": nested(7)});
        assert_eq!(checked_json(given.clone()).map(Value::Object), Ok(given));
    }

    #[test]
    fn each_limit_is_checked_and_the_attribute_is_named() {
        assert_eq!(
            checked_json(json!({"deep": nested(8)})).unwrap_err().field,
            "deep[0][0][0][0][0][0][0][0]"
        );

        assert_eq!(
            checked_json(json!({"a": 1, "long": "x".repeat(17_000)}))
                .unwrap_err()
                .field,
            "long"
        );

        assert_eq!(
            checked_json(json!({"a": {"b": [1e300]}}))
                .unwrap_err()
                .field,
            "a.b[0]"
        );

        assert_eq!(checked_json(json!({"a": {"": 1}})).unwrap_err().field, "a");
        assert_eq!(
            checked_json(json!({"": 1})).unwrap_err().complaint,
            "must not have an empty name"
        );

        let many: Object = (0..65).map(|n| (format!("a{n}"), json!(n))).collect();
        assert!(checked(many).unwrap_err().complaint.contains("64"));
    }
}
