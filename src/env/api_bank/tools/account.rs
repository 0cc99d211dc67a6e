//! Accounts, tokens, passwords and the bank.

use super::check::{self, Pair, Verdict};
use super::{Call, Fault, Output, Shown, Tool, fields, no_key, success};
use crate::env::api_bank::value::{Dict, Key, Value};
use crate::env::api_bank::world::Table;
use std::sync::Arc;

pub const TOOLS: &[Tool] = &[
    Tool::new("GetUserToken", token, check::exact),
    Tool::new("CheckToken", check_token, check::exact).nameless(),
    Tool::new("RegisterUser", register, register_check).nameless(),
    Tool::new("DeleteAccount", delete, check::exact).nameless(),
    Tool::new("ModifyPassword", modify_password, check::exact),
    Tool::new("ForgotPassword", forgot_password, check::exact)
        .nameless()
        .optional(&["username", "email", "verification_code", "new_password"], Shown::Given),
    Tool::new("QueryBalance", balance, balance_check),
    Tool::new("OpenBankAccount", open_bank_account, check::exact),
];

const CODE: i64 = 970_420;

fn account(call: &Call, name: &Value) -> Result<Option<Value>, Fault> {
    match name {
        Value::Str(name) => Ok(call.table(Table::Account).get(name).cloned()),
        Value::List(_) | Value::Dict(_) => Err(no_key(name)),
        _ => Ok(None),
    }
}

fn token(call: &mut Call) -> Output {
    let Some(account) = account(call, &call.arg("username"))? else {
        return Err("The username does not exist.".into());
    };
    if account.get("password") != Some(&call.arg("password")) {
        return Err("The password is incorrect.".into());
    }
    let token = account.get("token").cloned().unwrap_or(Value::None);
    Ok(Value::dict([("token", token)]))
}

fn check_token(call: &mut Call) -> Output {
    Ok(Value::dict([("username", Value::Str(call.user()?))]))
}

fn register(call: &mut Call) -> Output {
    let name = call.arg("username");
    if account(call, &name)?.is_some() {
        return Err("The username already exists.".into());
    }
    let token = Value::str(call.world.random_token());
    let row = Dict::of([("password", call.arg("password")), ("token", token.clone()), ("email", call.arg("email"))]);
    call.table_mut(Table::Account).insert(Key::Text(name.display().into()), Value::Dict(Arc::new(row)));
    Ok(Value::dict([("token", token)]))
}

fn delete(call: &mut Call) -> Output {
    let user = call.user()?;
    call.table_mut(Table::Account).remove(&user);
    Ok(Value::dict([("status", Value::str("success"))]))
}

fn modify_password(call: &mut Call) -> Output {
    let user = call.user()?;
    let (old, new) = (call.arg("old_password"), call.arg("new_password"));
    let account = call.table_mut(Table::Account).get_mut(&user).ok_or_else(|| no_key(&Value::Str(user.clone())))?;
    if account.get("password") != Some(&old) {
        return Err("The old password is incorrect.".into());
    }
    fields(account).set("password", new);
    Ok(Value::dict([("status", Value::str("success"))]))
}

/// First for a code, then with it for a new password.
fn forgot_password(call: &mut Call) -> Output {
    let given = |name: &str| call.input.get(name).cloned();
    match call.arg("status").as_str() {
        Some("Forgot Password") => {
            let (Some(name), Some(email)) = (given("username"), given("email")) else {
                return Err("The username and email are required for the first call.".into());
            };
            let Some(account) = account(call, &name)? else {
                return Err("The username does not exist.".into());
            };
            if account.get("email") != Some(&email) {
                return Err("The email is incorrect.".into());
            }
            call.world.forgot = Some(name.display().into());
            Ok(Value::Int(CODE))
        }
        Some("Verification Code") => {
            let Some(name) = call.world.forgot.clone() else {
                return Err("You need to call the API with status 'Forgot Password' at first.".into());
            };
            let (Some(password), Some(code)) = (given("new_password"), given("verification_code")) else {
                return Err("The new password and verification code are required for the second call.".into());
            };
            if code != Value::Int(CODE) {
                return Err("The verification code is incorrect.".into());
            }
            let accounts = call.table_mut(Table::Account);
            let account = accounts.get_mut(&name).ok_or_else(|| no_key(&Value::Str(name.clone())))?;
            fields(account).set("password", password);
            success()
        }
        _ => Err("The status is only 'Forgot Password' or 'Verification Code'.".into()),
    }
}

fn balance(call: &mut Call) -> Output {
    let user = call.stripped("token").and_then(|_| call.user()).map_err(|_| "The token is incorrect.")?;
    match call.world.library().bank.get(&user) {
        Some(account) => Ok(account.get("balance").cloned().unwrap_or(Value::None)),
        None => Err("The user does not have an account.".into()),
    }
}

fn open_bank_account(call: &mut Call) -> Output {
    let account = call.arg("account");
    if call.table(Table::BankAccounts).rows().iter().any(|(_, row)| row.get("account") == Some(&account)) {
        return Ok(Value::str("failed"));
    }
    let row = Value::dict([("account", account)]);
    let key = Key::Int(call.table(Table::BankAccounts).len() as i64 + 1);
    call.table_mut(Table::BankAccounts).insert(key, row);
    success()
}

/// The token is drawn: it is not compared.
fn register_check(pair: &Pair) -> Verdict {
    let [response, gold] = pair.both("output")?;
    Ok((!gold.is_none() || response.is_none()) && pair.same("input")? && pair.same("exception")?)
}

fn balance_check(pair: &Pair) -> Verdict {
    Ok(pair.stripped("token")? && pair.result()?)
}
