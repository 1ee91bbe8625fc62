package exec_test

import "testing"

// family is what most operations of the specification's tests are about.
func family() values {
	berlin := &place{values{"city": "Berlin", "street": nil, "country": &country{values{"code": "DE"}}}}
	cleo := &person{values{"name": "Cleo", "age": 30, "adult": true, "address": berlin, "tags": []string{"boss"}, "mood": "CALM"}}
	ben := &person{values{"name": "Ben", "age": 7, "adult": false, "address": berlin, "boss": cleo, "friends": list()}}
	rex := &dog{values{"name": "Rex", "legs": 4, "barks": true, "owner": ben}}
	tom := &cat{values{"name": "Tom", "legs": 3, "lives": 9, "owner": cleo}}
	stone := &rock{values{"weight": 12}}
	ann := &person{values{"name": "Ann", "nick": "A", "age": 41, "adult": true, "address": berlin, "home": berlin,
		"tags": []string{"x", "y"}, "mood": "WILD", "best": ben, "boss": cleo, "friends": list(ben, cleo), "maybe": list(ben, nil),
		"pet": rex, "pets": list(rex, nil, tom), "thing": stone, "things": list(stone, tom, rex)}}
	return values{"ann": ann, "ben": ben, "must": cleo, "people": list(ann, ben), "animal": rex, "animals": list(rex, tom),
		"named": ann, "thing": stone, "things": list(stone, rex, nil, tom), "count": 3, "size": 4}
}

// The response has the keys in the order of the document, after merging (6.3.2, 7.2.2).
func TestOrderOfKeysFollowsTheDocument(t *testing.T) {
	t.Parallel()
	check(t, family(),
		example{"plain", `{ size ann { age name nick } count }`, nil,
			`{"size":4,"ann":{"age":41,"name":"Ann","nick":"A"},"count":3}`, nil},
		example{"a repeated field stays at its first place", `{ ann { name age } count ann { nick name } }`, nil,
			`{"ann":{"name":"Ann","age":41,"nick":"A"},"count":3}`, nil},
		example{"fragments are expanded in place", `{ ann { age ...f nick } } fragment f on Person { name age adult }`, nil,
			`{"ann":{"age":41,"name":"Ann","adult":true,"nick":"A"}}`, nil},
		example{"a field first met in a fragment", `{ ann { ... on Named { name } age name } }`, nil,
			`{"ann":{"name":"Ann","age":41}}`, nil},
	)
}

// The selection sets of fields with one response key are merged (6.3.2, 6.4.3).
func TestSelectionsOfOneKeyAreMerged(t *testing.T) {
	t.Parallel()
	check(t, family(),
		example{"at one level", `{ ann { best { name } best { age } } }`, nil, `{"ann":{"best":{"name":"Ben","age":7}}}`, nil},
		example{"at several levels", `{ ann { best { boss { name } } } ann { best { boss { age } name } } }`, nil,
			`{"ann":{"best":{"boss":{"name":"Cleo","age":30},"name":"Ben"}}}`, nil},
		example{"across fragments", `{ ann { ...a ...b best { adult } } }
			fragment a on Person { best { name } } fragment b on Named { ... on Person { best { age name } } }`, nil,
			`{"ann":{"best":{"name":"Ben","age":7,"adult":false}}}`, nil},
		example{"in lists", `{ people { name } people { age } }`, nil, `{"people":[{"name":"Ann","age":41},{"name":"Ben","age":7}]}`, nil},
		example{"below a union", `{ thing { ... on Rock { weight } } thing { ... on Rock { heavy: weight } __typename } }`, nil,
			`{"thing":{"weight":12,"heavy":12,"__typename":"Rock"}}`, nil},
		example{"of the root", `query { ...q count } fragment q on Query { ann { name } ...r } fragment r on Query { ann { age } }`, nil,
			`{"ann":{"name":"Ann","age":41},"count":3}`, nil},
		example{"but not those of other aliases", `{ ann { a: best { name } b: best { age } } }`, nil,
			`{"ann":{"a":{"name":"Ben"},"b":{"age":7}}}`, nil},
	)
}

// A named fragment is visited once in a selection set (6.3.2, CollectFields 3.d).
func TestFragmentSpreadIsVisitedOnce(t *testing.T) {
	t.Parallel()
	check(t, family(),
		example{"its place is the first", `{ ann { ...f age ...f } } fragment f on Person { name nick }`, nil,
			`{"ann":{"name":"Ann","nick":"A","age":41}}`, nil},
		example{"a skipped spread was no visit", `{ ann { ...f @skip(if: true) age ...f } } fragment f on Person { name }`, nil,
			`{"ann":{"age":41,"name":"Ann"}}`, nil},
		example{"one that does not apply was", `{ thing { ...f ...f __typename } } fragment f on Dog { name }`, nil,
			`{"thing":{"__typename":"Rock"}}`, nil},
		example{"but again on another level", `{ ann { ...f best { ...f } } } fragment f on Person { name }`, nil,
			`{"ann":{"name":"Ann","best":{"name":"Ben"}}}`, nil},
		example{"and in another field", `{ ann { ...f } ben { ...f } } fragment f on Person { name }`, nil,
			`{"ann":{"name":"Ann"},"ben":{"name":"Ben"}}`, nil},
		example{"fragments that double do not explode", `{ ann { ...a } }
			fragment a on Person { ...b ...b best { ...b } best { ...b } } fragment b on Person { ...c ...c } fragment c on Person { name }`, nil,
			`{"ann":{"name":"Ann","best":{"name":"Ben"}}}`, nil},
	)
}

// A fragment applies to the type in its condition, to the members of an interface or union there, and to everything
// without a condition (2.8.1, 2.8.2, 6.3.2 DoesFragmentTypeApply).
func TestTypeConditions(t *testing.T) {
	t.Parallel()
	check(t, family(),
		example{"an object", `{ animals { ... on Dog { barks } ... on Cat { lives } } }`, nil, `{"animals":[{"barks":true},{"lives":9}]}`, nil},
		example{"an interface", `{ things { ... on Animal { legs } } }`, nil, `{"things":[{},{"legs":4},null,{"legs":3}]}`, nil},
		example{"an interface of an interface", `{ named { ... on Animal { legs } ... on Person { age } } animal { ... on Named { name } } }`, nil,
			`{"named":{"age":41},"animal":{"name":"Rex"}}`, nil},
		example{"a union", `{ animals { ... on Thing { ... on Cat { lives } __typename } } }`, nil,
			`{"animals":[{"__typename":"Dog"},{"lives":9,"__typename":"Cat"}]}`, nil},
		example{"a union of others", `{ named { name ... on Thing { __typename } } }`, nil, `{"named":{"name":"Ann"}}`, nil},
		example{"a condition within another", `{ things { ... on Animal { ... on Dog { name } legs } } }`, nil,
			`{"things":[{},{"name":"Rex","legs":4},null,{"legs":3}]}`, nil},
		example{"the type itself", `{ ann { ... on Person { name } } }`, nil, `{"ann":{"name":"Ann"}}`, nil},
		example{"its interface", `{ ann { ... on Named { name } } }`, nil, `{"ann":{"name":"Ann"}}`, nil},
		example{"named fragments", `{ things { ...d ...n } } fragment d on Dog { barks } fragment n on Named { name }`, nil,
			`{"things":[{},{"barks":true,"name":"Rex"},null,{"name":"Tom"}]}`, nil},
		example{"none", `{ ann { ... { name ... { age } } } thing { ... { __typename } } }`, nil,
			`{"ann":{"name":"Ann","age":41},"thing":{"__typename":"Rock"}}`, nil},
		example{"one that nothing meets leaves an empty object", `{ thing { ... on Dog { name } } }`, nil, `{"thing":{}}`, nil},
		example{"lists below abstract types", `{ animals { owner { pets { name } name } } ann { pets { owner { name } ... on Cat { lives } } } }`, nil,
			`{"animals":[{"owner":{"pets":null,"name":"Ben"}},{"owner":{"pets":null,"name":"Cleo"}}],` +
				`"ann":{"pets":[{"owner":{"name":"Ben"}},null,{"owner":{"name":"Cleo"},"lives":9}]}}`, nil},
		example{"members that ask for different things", `{ things { ... on Dog { owner { boss { name } } } ... on Cat { owner { age } } ... on Rock { weight } } }`, nil,
			`{"things":[{"weight":12},{"owner":{"boss":{"name":"Cleo"}}},null,{"owner":{"age":30}}]}`, nil},
	)
}

// @skip leaves a selection out if it is true, @include if it is false; both have to let it through (3.13.1, 3.13.2,
// 6.3.2).
func TestSkipAndInclude(t *testing.T) {
	t.Parallel()
	both := `query($s: Boolean!, $i: Boolean!) { count @skip(if: $s) @include(if: $i) size }`
	reversed := `query($s: Boolean!, $i: Boolean!) { count @include(if: $i) @skip(if: $s) size }`
	var examples []example
	for _, skip := range []bool{false, true} {
		for _, include := range []bool{false, true} {
			data := `{"size":4}`
			if !skip && include {
				data = `{"count":3,"size":4}`
			}
			variables := map[string]any{"s": skip, "i": include}
			examples = append(examples, example{"both", both, variables, data, nil}, example{"reversed", reversed, variables, data, nil})
		}
	}
	defaults := `query($x: Boolean = true, $y: Boolean! = false) { ann { name @include(if: $x) age @include(if: $y) adult @skip(if: $y) } }`
	examples = append(examples,
		example{"literals", `{ a: count @skip(if: true) b: count @skip(if: false) c: count @include(if: true) d: count @include(if: false) }`, nil,
			`{"b":3,"c":3}`, nil},
		example{"defaults of variables", defaults, nil, `{"ann":{"name":"Ann","adult":true}}`, nil},
		example{"instead of the defaults", defaults, map[string]any{"x": false, "y": true}, `{"ann":{"age":41}}`, nil},
		example{"on fragments", `query($x: Boolean!) { ann { ... @include(if: $x) { name } ... on Person @skip(if: $x) { age }
			...f @include(if: $x) } } fragment f on Person { nick }`, map[string]any{"x": true}, `{"ann":{"name":"Ann","nick":"A"}}`, nil},
		example{"within fragments", `query($x: Boolean!) { ann { ...f } } fragment f on Person { nick @skip(if: $x) name }`,
			map[string]any{"x": true}, `{"ann":{"name":"Ann"}}`, nil},
		example{"one occurrence of a field", `{ ann { name @skip(if: true) age name } }`, nil, `{"ann":{"age":41,"name":"Ann"}}`, nil},
		example{"one of two selections", `{ ann @skip(if: true) { name } ann { age } }`, nil, `{"ann":{"age":41}}`, nil},
		example{"all of an object's fields", `{ ann { name @skip(if: true) } }`, nil, `{"ann":{}}`, nil},
		example{"all of the root's fields", `{ count @skip(if: true) }`, nil, `{}`, nil},
		example{"on composites", `query($x: Boolean!) { ann { best @include(if: $x) { name } boss @skip(if: $x) { name } } }`,
			map[string]any{"x": false}, `{"ann":{"boss":{"name":"Cleo"}}}`, nil},
		example{"on __typename", `{ __typename @skip(if: true) a: __typename @include(if: true) }`, nil, `{"a":"Query"}`, nil},
		example{"on introspection", `{ __schema @skip(if: true) { queryType { name } } count }`, nil, `{"count":3}`, nil},
	)
	check(t, family(), examples...)
}

// An alias is the response key (2.7); one field under several aliases is executed for each.
func TestAliases(t *testing.T) {
	t.Parallel()
	check(t, family(),
		example{"of leaves", `{ ann { x: name y: name name } }`, nil, `{"ann":{"x":"Ann","y":"Ann","name":"Ann"}}`, nil},
		example{"of composites", `{ x: ann { y: best { z: name } } }`, nil, `{"x":{"y":{"z":"Ben"}}}`, nil},
		example{"that swap names", `{ ann { name: nick nick: name } }`, nil, `{"ann":{"name":"A","nick":"Ann"}}`, nil},
	)
}

// __typename is the name of the object's type, wherever it is selected (4.1).
func TestTypename(t *testing.T) {
	t.Parallel()
	check(t, family(),
		example{"of the root", `{ __typename }`, nil, `{"__typename":"Query"}`, nil},
		example{"of a mutation", `mutation { __typename }`, nil, `{"__typename":"Mutation"}`, nil},
		example{"in a fragment on the root", `{ ...f } fragment f on Query { t: __typename ... { __typename } }`, nil,
			`{"t":"Query","__typename":"Query"}`, nil},
		example{"of an object", `{ ann { __typename best { __typename name } } }`, nil,
			`{"ann":{"__typename":"Person","best":{"__typename":"Person","name":"Ben"}}}`, nil},
		example{"of an interface", `{ animals { __typename } named { __typename } }`, nil,
			`{"animals":[{"__typename":"Dog"},{"__typename":"Cat"}],"named":{"__typename":"Person"}}`, nil},
		example{"of a union", `{ things { __typename } }`, nil,
			`{"things":[{"__typename":"Rock"},{"__typename":"Dog"},null,{"__typename":"Cat"}]}`, nil},
		example{"within fragments", `{ things { ... on Animal { t: __typename ... on Cat { u: __typename } } } }`, nil,
			`{"things":[{},{"t":"Dog"},null,{"t":"Cat","u":"Cat"}]}`, nil},
		example{"between others", `{ a: __typename count b: __typename }`, nil, `{"a":"Query","count":3,"b":"Query"}`, nil},
	)
}

// Lists are lists of completed elements, in order (6.4.3, 7.2.2).
func TestLists(t *testing.T) {
	t.Parallel()
	one := &person{values{"name": "One", "tags": []string{}, "friends": list(), "address": nil}}
	check(t, values{"ann": one, "people": list(), "maybe": list(nil, one, nil), "all": nil, "animals": list(nil), "things": list(),
		"some": list(one, one)},
		example{"empty", `{ people { name boss { name } } things { __typename } ann { friends { name } tags } }`, nil,
			`{"people":[],"things":[],"ann":{"friends":[],"tags":[]}}`, nil},
		example{"null", `{ all { name } ann { maybe { name } } }`, nil, `{"all":null,"ann":{"maybe":null}}`, nil},
		example{"null elements", `{ maybe { name friends { name } } animals { name owner { name } } }`, nil,
			`{"maybe":[null,{"name":"One","friends":[]},null],"animals":[null]}`, nil},
		example{"only null elements", `{ animals { owner { best { name } } } }`, nil, `{"animals":[null]}`, nil},
		example{"one object twice", `{ some { name } }`, nil, `{"some":[{"name":"One"},{"name":"One"}]}`, nil},
	)
}

// Leaves are written in their type's form, or as null (3.5, 6.4.3).
func TestLeaves(t *testing.T) {
	t.Parallel()
	root := family()
	root["ann"].(*person).values["name"] = "\"Änn\"\n\\\u0001"
	check(t, root,
		example{"kinds", `{ ann { name age adult mood tags } }`, nil,
			`{"ann":{"name":"\"Änn\"\n\\\u0001","age":41,"adult":true,"mood":"WILD","tags":["x","y"]}}`, nil},
		example{"null", `{ ben { nick mood tags home { city } } }`, nil, `{"ben":{"nick":null,"mood":null,"tags":null,"home":null}}`, nil},
		example{"of the root", `{ size count }`, nil, `{"size":4,"count":3}`, nil},
	)
}
