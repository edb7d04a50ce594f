//! What is known about an expression's result before it is evaluated.

use smallvec::SmallVec;

use super::ast::TypeName;
use super::model::Model;
use crate::knowledge::definitions::TypeId;

/// <http://hl7.org/fhirpath/N1/#literals>, and what `type()` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SystemType {
    Boolean,
    Integer,
    Decimal,
    String,
    Date,
    DateTime,
    Time,
    Quantity,
    /// `SimpleTypeInfo` or `ClassInfo`
    TypeInfo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    System(SystemType),
    Fhir(TypeId),
}

/// The type in `is T`, `as T` or `ofType(T)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeSpecifier {
    Known(Type),
    /// A qualified name of a type that does not exist, `System.Patient`: nothing is of it.
    Nothing,
}

/// The types a result may have, and how many items.
#[derive(Debug, Clone)]
pub(super) struct Typing {
    /// `None` if nothing is known; empty if the result is always empty.
    pub types: Option<SmallVec<[Type; 2]>>,
    /// Whether there may be more than one item.
    pub is_many: bool,
    /// Whether the items' order means something; that of `children()` does not.
    pub is_ordered: bool,
}

impl SystemType {
    pub fn name(self) -> &'static str {
        match self {
            SystemType::Boolean => "Boolean",
            SystemType::Integer => "Integer",
            SystemType::Decimal => "Decimal",
            SystemType::String => "String",
            SystemType::Date => "Date",
            SystemType::DateTime => "DateTime",
            SystemType::Time => "Time",
            SystemType::Quantity => "Quantity",
            SystemType::TypeInfo => "TypeInfo",
        }
    }

    fn parse(name: &str) -> Option<SystemType> {
        use SystemType::*;
        [Boolean, Integer, Decimal, String, Date, DateTime, Time, Quantity]
            .into_iter()
            .find(|ty| ty.name() == name)
    }
}

impl Type {
    /// The System type that a value of this type is converted to where one is needed.
    pub fn system(self, model: &Model) -> Option<SystemType> {
        use super::model::Primitive;
        match self {
            Type::System(system) => Some(system),
            Type::Fhir(id) if model.is_quantity(id) => Some(SystemType::Quantity),
            Type::Fhir(id) => model.primitive(id).map(|primitive| match primitive {
                Primitive::Boolean => SystemType::Boolean,
                Primitive::Integer => SystemType::Integer,
                Primitive::Decimal => SystemType::Decimal,
                Primitive::String => SystemType::String,
                Primitive::Date => SystemType::Date,
                Primitive::DateTime => SystemType::DateTime,
                Primitive::Time => SystemType::Time,
            }),
        }
    }

    pub fn name(self, model: &Model) -> &'static str {
        match self {
            Type::System(system) => system.name(),
            Type::Fhir(id) => model.type_name(id),
        }
    }
}

impl TypeSpecifier {
    /// A name without a namespace is looked for among FHIR's types first
    /// (<http://hl7.org/fhirpath/N1/#models>); `None` if there is no such type.
    pub fn resolve(name: &TypeName, model: &Model) -> Option<TypeSpecifier> {
        let fhir = || model.definitions.type_id(&name.name).map(Type::Fhir);
        let system = || SystemType::parse(&name.name).map(Type::System);
        match name.namespace.as_deref() {
            None => fhir().or_else(system).map(TypeSpecifier::Known),
            Some("FHIR") => Some(fhir().map_or(TypeSpecifier::Nothing, TypeSpecifier::Known)),
            Some("System") => Some(system().map_or(TypeSpecifier::Nothing, TypeSpecifier::Known)),
            // A backbone's type is named by its path: Patient.contact.
            Some(owner) => {
                let path = format!("{owner}.{}", name.name);
                model
                    .definitions
                    .type_id(&path)
                    .map(|id| TypeSpecifier::Known(Type::Fhir(id)))
            }
        }
    }
}

impl Typing {
    pub fn unknown() -> Typing {
        Typing {
            types: None,
            is_many: true,
            is_ordered: true,
        }
    }

    pub fn empty() -> Typing {
        Typing {
            types: Some(SmallVec::new()),
            is_many: false,
            is_ordered: true,
        }
    }

    pub fn one(ty: Type) -> Typing {
        Typing {
            types: Some(SmallVec::from_slice(&[ty])),
            is_many: false,
            is_ordered: true,
        }
    }

    pub fn system(ty: SystemType) -> Typing {
        Typing::one(Type::System(ty))
    }

    pub fn many(self) -> Typing {
        Typing { is_many: true, ..self }
    }

    pub fn single(self) -> Typing {
        Typing {
            is_many: false,
            is_ordered: true,
            ..self
        }
    }

    pub fn or(self, other: Typing) -> Typing {
        let types = match (self.types, other.types) {
            (Some(mut types), Some(others)) => {
                for ty in others {
                    if !types.contains(&ty) {
                        types.push(ty);
                    }
                }
                Some(types)
            }
            _ => None,
        };
        let is_ordered = self.is_ordered && other.is_ordered;
        Typing {
            types,
            is_many: self.is_many || other.is_many,
            is_ordered,
        }
    }

    /// Whether an item may have, or be converted to, one of these System types. What is empty or unknown may.
    pub fn may_be(&self, wanted: &[SystemType], model: &Model) -> bool {
        let Some(types) = &self.types else {
            return true;
        };
        types.is_empty()
            || types
                .iter()
                .any(|ty| ty.system(model).is_some_and(|system| wanted.contains(&system)))
    }

    /// The types' names for a message: “Period or dateTime”.
    pub fn describe(&self, model: &Model) -> String {
        match &self.types {
            None => "anything".to_owned(),
            Some(types) if types.is_empty() => "nothing".to_owned(),
            Some(types) if types.len() > 4 => format!("one of {} types", types.len()),
            Some(types) => types.iter().map(|ty| ty.name(model)).collect::<Vec<_>>().join(" or "),
        }
    }
}
