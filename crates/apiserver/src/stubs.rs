//! temporary
pub fn convert(_:&mut api::value::Value,_:(&str,&str),_:(&str,&str),_:&str)->Result<(),String>{Ok(())}
