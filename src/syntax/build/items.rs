//! Items, and the types and parameters in their heads.

use super::{Builder, Parts, Rule, inside, span};
use crate::base::{Span, Spanned};
use crate::syntax::ast::*;
use pest::iterators::Pair;

/// An item whose name is all that can be relied on.
fn broken(word: ItemWord, name: Name) -> ItemKind {
    ItemKind::Broken { declares: vec![(Some(word), name)], word: Some(word) }
}

impl Builder<'_> {
    pub(super) fn item(&mut self, pair: Pair<Rule>) -> ItemKind {
        let (rule, place) = (pair.as_rule(), super::trimmed(&pair));
        let mut parts = Parts::of(pair);
        match rule {
            Rule::edition => {
                let year = parts.due();
                let year = Spanned::new(year.as_str().to_owned(), span(&year));
                let unstable = parts.next().map(|list| inside(list).map(|name| self.name(name)).collect());
                ItemKind::Edition { year, unstable: unstable.unwrap_or_default() }
            }
            Rule::import => {
                let path = parts.due();
                let path = Spanned::new(self.string(path.clone()).unwrap_or_default(), span(&path));
                let names = parts.due();
                let form = names.as_rule();
                let mut names: Vec<Name> = names.into_inner().map(|name| self.name(name)).collect();
                let names = match form {
                    Rule::import_as => Imported::As(names.remove(0)),
                    _ => Imported::Names(names),
                };
                ItemKind::Import { path, names }
            }
            Rule::param => {
                let name = parts.due();
                let name = self.declared(name);
                parts.has(Rule::colon);
                let ty = parts.due();
                let ty = Box::new(self.type_expr(ty));
                parts.has(Rule::assign);
                let default = parts.due();
                let default = self.expr(default);
                match self.item_tail(parts, place) {
                    true => broken(ItemWord::Param, name),
                    false => ItemKind::Param { name, ty, default },
                }
            }
            Rule::constant => {
                let name = parts.due();
                let name = self.declared(name);
                parts.has(Rule::assign);
                let value = parts.due();
                let value = self.expr(value);
                match self.item_tail(parts, place) {
                    true => broken(ItemWord::Let, name),
                    false => ItemKind::Let { name, value },
                }
            }
            Rule::declaration => {
                let kind = match parts.due().as_str() {
                    "env" => Declared::Env,
                    "dataset" => Declared::Dataset,
                    "model" => Declared::Model,
                    "critic" => Declared::Critic,
                    _ => Declared::Trainer,
                };
                let name = parts.due();
                let name = self.declared(name);
                let body = parts.due();
                ItemKind::Declaration { kind, name, body: self.block(body) }
            }
            Rule::prompt => self.prompt(parts),
            Rule::rule_item => {
                let name = parts.due();
                let name = self.declared(name);
                let parameters = parts.take(Rule::parameters).map(|list| self.parameters(list)).unwrap_or_default();
                parts.has(Rule::assign);
                let mut stages = Vec::new();
                while let Some(stage) = parts.next() {
                    let joined = stage.as_rule() != Rule::lost_pipe;
                    stages.extend(self.joined_stage(stage));
                    if !joined {
                        // What it was to be joined to is not certain.
                        let stage = self.stage(parts.due());
                        stages.push(Stage { kind: StageKind::Broken, ..stage });
                    }
                }
                ItemKind::Rule(super::super::ast::Rule { name, parameters, stages })
            }
            Rule::experiment => {
                let name = parts.due();
                let name = self.declared(name);
                let body = parts.due();
                ItemKind::Experiment(self.experiment(name, body))
            }
            Rule::matrix => {
                let name = parts.due();
                let name = self.declared(name);
                let of = parts.due();
                let of = self.name(of);
                let body = parts.due();
                let (axes, broken) = self.matrix_parts(body);
                ItemKind::Matrix(Matrix { name, of, axes, broken })
            }
            other => unreachable!("the grammar gives no item {other:?}"),
        }
    }

    /// Whether something stands on the line behind a complete item.
    fn item_tail(&mut self, mut parts: Parts, item: Span) -> bool {
        let Some(tail) = parts.take(Rule::item_tail) else { return false };
        self.broken_tail(Rule::only_item, item, super::trimmed(&tail));
        true
    }

    fn prompt(&mut self, mut parts: Parts) -> ItemKind {
        let name = parts.due();
        let name = self.declared(name);
        let parameters = parts.due();
        let parameters = self.parameters(parameters);
        self.visible = parameters.iter().map(|parameter| parameter.name.value.clone()).collect();
        self.visible.push("answer".to_owned());
        let body = parts.due();
        let mut prompt = Prompt { name, parameters, messages: Vec::new(), body: span(&body), broken: false };
        for part in body.into_inner() {
            match part.as_rule() {
                Rule::message => {
                    let mut parts = Parts::of(part);
                    let role = parts.due();
                    let role = self.name(role);
                    let template = parts.due();
                    prompt.messages.push(PromptMessage { role, template: self.template(template) });
                }
                Rule::unclosed => prompt.broken = true,
                _ => {
                    prompt.broken = true;
                    self.broken(Rule::only_message, super::trimmed(&part));
                }
            }
        }
        self.visible.clear();
        ItemKind::Prompt(prompt)
    }

    fn parameters(&mut self, list: Pair<Rule>) -> Vec<Parameter> {
        let one = |parameter: Pair<Rule>| {
            let mut parts = Parts::of(parameter);
            let name = parts.due();
            let name = self.declared(name);
            parts.has(Rule::colon);
            let ty = parts.due();
            Parameter { name, ty: self.type_expr(ty) }
        };
        inside(list).map(one).collect()
    }

    pub(super) fn type_expr(&mut self, pair: Pair<Rule>) -> Type {
        let place = span(&pair);
        let mut parts = Parts::of(pair);
        let name = parts.due();
        let mut ty =
            Type { span: place, name: self.type_name(name), within: None, limit: None, by: None, visible: None };
        while let Some(part) = parts.next() {
            let rule = part.as_rule();
            let mut inner = Parts::of(part);
            match rule {
                Rule::type_in => ty.within = Some(self.expr(inner.due())),
                Rule::type_limit => ty.limit = Some(self.expr(inner.due())),
                Rule::type_by => ty.by = Some(self.name(inner.due())),
                _ => {
                    let mut audiences = Vec::new();
                    while let Some(audience) = inner.next() {
                        audiences.push(self.name(audience.into_inner().next().expect("an audience has a name")));
                    }
                    ty.visible = Some(audiences);
                }
            }
        }
        ty
    }

    fn type_name(&mut self, pair: Pair<Rule>) -> TypeName {
        let place = span(&pair);
        let mut parts = Parts::of(pair);
        let mut names = Vec::new();
        while let Some(name) = parts.take(Rule::ident) {
            names.push(self.name(name));
        }
        let path = Path { span: names[0].span.to(names[names.len() - 1].span), parts: names };
        let of = parts.take(Rule::type_of).map(|of| Parts::of(of).due());
        let of = of.map(|of| Box::new(self.type_name(of)));
        TypeName { span: place, path, of, optional: parts.has(Rule::optional) }
    }
}
