"use strict";
const operations = document.getElementById("operations");
const access = document.getElementById("access");
const token = document.getElementById("token");

function made(name, text, ...children) {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

function resolved(schema, all) {
  const name = schema && schema.$ref && schema.$ref.split("/").pop();
  return name ? { name, ...all[name] } : schema || {};
}

function kind(given, all) {
  const schema = resolved(given, all);
  if (schema.name) return schema.name;
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array" || (Array.isArray(schema.type) && schema.type.includes("array"))) return kind(schema.items, all) + "[]";
  let text = [].concat(schema.type || "any").filter((type) => type !== "null").join(" | ");
  if (schema.minimum !== undefined || schema.maximum !== undefined) text += ` ${schema.minimum ?? ""}..${schema.maximum ?? ""}`;
  return text;
}

function fields(schema, all) {
  const list = made("dl");
  for (const [name, field] of Object.entries(schema.properties || {})) {
    const is = made("span", kind(field, all));
    is.className = "quiet";
    list.append(made("dt", name), made("dd", resolved(field, all).description || "", " ", is));
  }
  return list;
}

function example(method, path, operation) {
  const address = location.origin + path.replace(/\{(\w+)\}/g, (all, name) => {
    const found = (operation.parameters || []).find((parameter) => parameter.name === name);
    return found && found.example ? found.example : all;
  });
  const parts = ["curl"];
  if (method !== "get") parts.push("-X " + method.toUpperCase());
  if (operation.security) parts.push('-H "Authorization: Bearer $STREAMDET_TOKEN"');
  const kinds = Object.keys((operation.requestBody || {}).content || {});
  if (kinds.some((one) => one.startsWith("image/"))) parts.push("-H 'Content-Type: image/jpeg' --data-binary @image.jpg");
  else if (kinds.includes("application/json")) parts.push("-H 'Content-Type: application/json' --data-binary @request.json");
  parts.push("'" + address + "'");
  return parts.join(" ");
}

function shown(method, path, operation, all) {
  const inside = made("div");
  for (const line of (operation.description || "").split("\n\n")) if (line) inside.append(made("p", line));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    const list = made("dl");
    for (const parameter of parameters) {
      const is = made("span", `${parameter.in}, ${kind(parameter.schema, all)}`);
      is.className = "quiet";
      list.append(made("dt", parameter.name), made("dd", parameter.description || "", " ", is));
    }
    inside.append(made("h3", "Parameters"), list);
  }
  const content = (title, given) => {
    for (const [type, body] of Object.entries(given || {})) {
      const schema = resolved(body.schema, all);
      inside.append(made("h3", title), made("p", "", made("code", type)));
      if (schema.properties) inside.append(fields(schema, all));
    }
  };
  content("Body", (operation.requestBody || {}).content);
  content("Answer", ((operation.responses || {})["200"] || {}).content);
  const list = made("dl");
  for (const [status, response] of Object.entries(operation.responses || {})) {
    list.append(made("dt", status), made("dd", response.description || ""));
  }
  inside.append(made("h3", "Statuses"), list, made("h3", "Example"), made("pre", example(method, path, operation)));
  const summary = made("summary", "", made("b", method.toUpperCase()), made("code", path), " ", made("span", operation.summary || ""));
  return made("details", "", summary, inside);
}

function show(api) {
  access.hidden = true;
  document.getElementById("about").textContent = `${api.info.version}. ${api.info.description}`;
  const all = (api.components || {}).schemas || {};
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = (operation.tags || ["Other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(shown(method, path, operation, all));
    }
  }
  operations.replaceChildren();
  for (const [tag, shownOnes] of groups) operations.append(made("h2", tag), ...shownOnes);
  operations.append(made("h2", "Schemas"));
  for (const [name, schema] of Object.entries(all)) {
    const about = made("div", "", made("p", schema.description || ""), fields(schema, all));
    operations.append(made("details", "", made("summary", "", made("code", name)), about));
  }
}

async function load() {
  const headers = token.value ? { Authorization: "Bearer " + token.value } : {};
  const answer = await fetch("/openapi.json", { headers });
  if (answer.status === 401) {
    access.hidden = false;
    operations.replaceChildren(made("p", "This server asks for its token."));
    token.focus();
    return;
  }
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  show(await answer.json());
}

function start() {
  load().catch((error) => operations.replaceChildren(made("p", "/openapi.json cannot be shown: " + error.message)));
}

access.addEventListener("submit", (event) => { event.preventDefault(); start(); });
start();
