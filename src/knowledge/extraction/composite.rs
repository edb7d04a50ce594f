//! Composite parameters (<https://hl7.org/fhir/R4/search.html#composite>): several values that belong together.
//!
//! The expression of a composite selects its *instances*: a component of an Observation, a use context, the resource
//! itself. Its components are expressions that start at an instance. Composites that share their instances share one walk
//! over each, and each component that several of them have is found once.

use smallvec::SmallVec;

use super::{ExtractionPlan, Found, PlanError, Within};
use crate::knowledge::definitions::{Definitions, TypeId};

/// All composite parameters of one resource type. `K` tells them apart.
#[derive(Debug)]
pub struct CompositePlan<K> {
    /// Finds the instances of each group.
    instances: ExtractionPlan<usize>,
    groups: Vec<Group<K>>,
}

/// Composites with the same instances.
#[derive(Debug)]
struct Group<K> {
    expression: String,
    /// Each with the components that it has, in its order.
    composites: Vec<(K, SmallVec<[usize; 3]>)>,
    components: Vec<String>,
    /// Finds the components, for each type that instances have.
    plans: Vec<(TypeId, ExtractionPlan<usize>)>,
}

impl<K: Copy> CompositePlan<K> {
    /// Compiles composites of `resource_type`, each given by its expression and those of its components.
    ///
    /// # Errors
    /// When an expression is no FHIRPath, or a path in it names an element that is not there.
    pub fn compile<'e>(
        definitions: &'static Definitions,
        resource_type: TypeId,
        composites: impl IntoIterator<Item = (K, &'e str, Vec<&'e str>)>,
    ) -> Result<Self, PlanError> {
        let mut groups: Vec<Group<K>> = Vec::new();
        for (key, expression, components) in composites {
            let known = groups.iter().position(|group| group.expression == expression);
            let group = known.unwrap_or_else(|| {
                groups.push(Group {
                    expression: expression.to_owned(),
                    composites: Vec::new(),
                    components: Vec::new(),
                    plans: Vec::new(),
                });
                groups.len() - 1
            });
            let group = &mut groups[group];
            let places = components
                .iter()
                .map(|component| place(&mut group.components, component));
            group.composites.push((key, places.collect()));
        }
        let expressions = groups.iter().map(|group| group.expression.as_str()).enumerate();
        let instances = ExtractionPlan::compile(definitions, resource_type, expressions)?;
        for (number, group) in groups.iter_mut().enumerate() {
            for type_id in instances.types_of(&number) {
                let components = group.components.iter().map(String::as_str).enumerate();
                let plan = ExtractionPlan::compile(definitions, type_id, components)?;
                group.plans.push((type_id, plan));
            }
        }
        Ok(CompositePlan { instances, groups })
    }

    /// The types that the values of a component have. None are known of one that needs the FHIRPath engine.
    pub fn component_types(&self, key: &K, component: usize) -> Vec<TypeId>
    where
        K: PartialEq,
    {
        let mut types = Vec::new();
        for group in &self.groups {
            let places = group.composites.iter().filter(|(known, _)| known == key);
            for place in places.filter_map(|(_, places)| places.get(component)) {
                types.extend(group.plans.iter().flat_map(|(_, plan)| plan.types_of(place)));
            }
        }
        types
    }

    /// Gives `sink` each instance of each composite: the values of its components, in their order. An instance that lacks
    /// one of them is left out, since no search can match it.
    pub fn walk<'v>(&self, within: Within<'v>, sink: &mut dyn FnMut(K, &[&[Found<'v>]])) {
        self.instances
            .walk_within(within.resource, within, &mut |group, instance| {
                self.groups[group].visit(instance, within, sink);
            });
    }
}

impl<K: Copy> Group<K> {
    fn visit<'v>(&self, instance: Found<'v>, within: Within<'v>, sink: &mut dyn FnMut(K, &[&[Found<'v>]])) {
        let Some((_, plan)) = self.plans.iter().find(|(type_id, _)| *type_id == instance.type_id) else {
            return;
        };
        let mut found: SmallVec<[SmallVec<[Found<'v>; 2]>; 6]> = SmallVec::new();
        found.resize(self.components.len(), SmallVec::new());
        plan.walk_within(instance.value, within, &mut |component, value| {
            found[component].push(value)
        });
        for (key, components) in &self.composites {
            let values: SmallVec<[&[Found<'v>]; 3]> = components.iter().map(|&at| found[at].as_slice()).collect();
            if values.iter().all(|values| !values.is_empty()) {
                sink(*key, &values);
            }
        }
    }
}

/// Where `component` is among `components`, at their end if it was not there.
fn place(components: &mut Vec<String>, component: &str) -> usize {
    let known = components.iter().position(|known| known == component);
    known.unwrap_or_else(|| {
        components.push(component.to_owned());
        components.len() - 1
    })
}
